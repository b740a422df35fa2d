/**
 * The server breaks off, by `destroy()` or by a reset, with input unread, while the client has stopped reading. The client
 * may get all of it or a part, and an end of either kind; never a byte that is not right.
 */
import { patternAt } from '../clients/pattern.js';
import { ClientLife } from './client-life.js';
import type { Script } from './client-life.js';

/** Unread at the server, so that its kernel resets. */
const unreadBytes = 2000;

/** A client whose server breaks off. */
export class ServerAborter extends ClientLife {
  /** Nothing is promised. */
  protected override get expectedBytes(): number {
    return 0;
  }

  protected override get isResetExpected(): boolean {
    return true;
  }

  protected override *play(): Script {
    const { stayMs, isOdd, base } = this.plan;
    yield* this.begin({ do: 'abort', isReset: isOdd });
    this.send(Buffer.from(patternAt(base, unreadBytes)));
    this.enter();
    yield* this.stay(stayMs);
    this.enter(false);
    yield* this.readEnd();
    return 'complete';
  }
}
