/** Connects at the instant of a fault, asks for a little, and wants it: from an accept queue, or in the middle of a death. */
import { ClientLife } from './client-life.js';
import type { Script } from './client-life.js';

/** Little enough to be there in one round trip. */
const visitBytes = 4096;

/** A client that waits in the accept queue of a server that does not accept. */
export class QueueVisitor extends ClientLife {
  protected override get expectedBytes(): number {
    return visitBytes;
  }

  protected override *play(): Script {
    this.onCalled();
    yield* this.begin({ do: 'send', bytes: visitBytes });
    this.enter();
    yield* this.greeting();
    this.enter(false);
    yield* this.readTo(visitBytes);
    yield* this.readEnd();
    yield* this.endOutput();
    return 'complete';
  }

  /** Its SYN is under way. */
  protected onCalled(): void {}
}

/** A client that connects while the server dies: it is in its phase from its SYN on. */
export class BurstVisitor extends QueueVisitor {
  protected override onCalled(): void {
    this.enter();
  }
}
