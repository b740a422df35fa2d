/** Uploads, ends its output, and then reads the echo slowly. */
import { patternAt } from '../clients/pattern.js';
import { ClientLife } from './client-life.js';
import type { Script } from './client-life.js';

/** A client that ends first. */
export class HalfCloser extends ClientLife {
  protected override get expectedBytes(): number {
    return this.plan.totalBytes;
  }

  protected override *play(): Script {
    yield* this.begin({ do: 'echo', bytes: 0 });
    this.send(Buffer.from(patternAt(this.plan.base, this.plan.totalBytes)));
    yield* this.greeting();
    yield* this.endOutput();
    this.enter();
    yield* this.stay(this.plan.stayMs);
    yield* this.readTo(this.expectedBytes);
    this.enter(false);
    yield* this.readEnd();
    return 'complete';
  }
}
