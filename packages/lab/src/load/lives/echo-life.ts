/** A conversation: small records that are echoed. What is special about it is in its subclasses. */
import { monotonicMs } from '../clients/monotonic.js';
import { patternAt } from '../clients/pattern.js';
import { ClientLife } from './client-life.js';
import type { Script } from './client-life.js';

/** Bytes of a record. */
const recordBytes = 200;

/** A client that talks. */
export abstract class EchoLife extends ClientLife {
  #said = 0;

  protected override get expectedBytes(): number {
    return this.#said;
  }

  protected override *play(): Script {
    this.prepare();
    yield* this.begin({ do: 'echo', bytes: 0 });
    yield* this.exchange();
    const untilMs = monotonicMs() + this.plan.stayMs;
    while (monotonicMs() < untilMs && !this.isHurried) yield* this.converse();
    this.enter(false);
    yield* this.endOutput();
    yield* this.readEnd();
    return 'complete';
  }

  /** Sets options of the socket that has just been opened. */
  protected prepare(): void {}

  /** A part of the conversation. */
  protected abstract converse(): Generator<void>;

  /** One record and its echo. */
  protected *exchange(): Generator<void> {
    this.send(Buffer.from(patternAt(this.plan.base + this.#said, recordBytes)));
    this.#said += recordBytes;
    yield* this.readTo(this.#said);
  }
}
