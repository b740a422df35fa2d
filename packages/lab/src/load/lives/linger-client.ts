/** Sets SO_LINGER: half of them break off with a reset while the server has more for them, the others close in order. */
import { ClientLife } from './client-life.js';
import type { Script } from './client-life.js';

const graceSeconds = 2;

/** A client with SO_LINGER. */
export class LingerClient extends ClientLife {
  protected override get expectedBytes(): number {
    return this.plan.totalBytes;
  }

  protected override *play(): Script {
    const { isOdd, stayMs } = this.plan;
    this.connection.setLinger(isOdd ? 0 : graceSeconds);
    yield* this.begin({ do: 'send', isEndLate: true });
    yield* this.greeting();
    this.enter();
    yield* this.stay(stayMs);
    this.enter(false);
    if (isOdd) return 'ended';
    yield* this.readTo(this.expectedBytes);
    yield* this.endOutput();
    yield* this.readEnd();
    // Closing would wait in the kernel for what is not acknowledged, and this whole process with it.
    yield* this.acknowledged();
    return 'complete';
  }
}
