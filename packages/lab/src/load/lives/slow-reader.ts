/**
 * Stops reading for seconds and goes on: meanwhile its tail is at the server, whose application is through with it, or
 * only waits for the client's end. Who ends when is drawn: all closing states of the server's kernel are met.
 */
import { ClientLife } from './client-life.js';
import type { Script } from './client-life.js';

/** A slow reader. */
export class SlowReader extends ClientLife {
  /** Hands everything over in one write, and ends at once. */
  protected get isOneWrite(): boolean {
    return false;
  }

  protected override get expectedBytes(): number {
    return this.plan.totalBytes;
  }

  protected override *play(): Script {
    const { closing, stayMs } = this.plan;
    yield* this.begin({ do: 'send', isEndLate: closing === 'open', isOneWrite: this.isOneWrite });
    if (closing === 'both') yield* this.endOutput();
    yield* this.greeting();
    this.enter();
    yield* this.stay(stayMs / 2);
    if (closing === 'client') yield* this.endOutput();
    yield* this.stay(stayMs / 2);
    this.enter(false);
    yield* this.readTo(this.expectedBytes);
    if (closing === 'open') yield* this.endOutput();
    yield* this.readEnd();
    yield* this.endOutput();
    return 'complete';
  }
}

/** The same, of a server that has written everything in one go: what its kernel does not take waits in libuv. */
export class BacklogReader extends SlowReader {
  protected override get isOneWrite(): boolean {
    return true;
  }
}
