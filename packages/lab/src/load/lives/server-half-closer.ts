/** Reads to the server's end and then uploads on; the server's log has a receipt of what came. */
import { monotonicMs } from '../clients/monotonic.js';
import { patternAt } from '../clients/pattern.js';
import { ClientLife } from './client-life.js';
import type { Script } from './client-life.js';

const pieceBytes = 1500;
const pauseMs = 30;

/** A client whose server has ended first. */
export class ServerHalfCloser extends ClientLife {
  #uploaded = 0;

  protected override get expectedBytes(): number {
    return this.plan.tailBytes;
  }

  protected override get uploadedBytes(): number {
    return this.#uploaded;
  }

  protected override *play(): Script {
    const { tailBytes, stayMs } = this.plan;
    yield* this.begin({ do: 'collect', bytes: tailBytes });
    yield* this.greeting();
    yield* this.readTo(tailBytes);
    yield* this.readEnd();
    this.enter();
    const untilMs = monotonicMs() + stayMs;
    while (monotonicMs() < untilMs && !this.isHurried) {
      this.#sendPiece();
      yield* this.#pause();
    }
    yield* this.endOutput();
    yield* this.acknowledged();
    this.enter(false);
    return 'complete';
  }

  #sendPiece(): void {
    // A gate that stays shut stops the upload, as it would a real one.
    if (!this.isFlushed) return;
    const { base, tailBytes } = this.plan;
    this.send(Buffer.from(patternAt(base + tailBytes + this.#uploaded, pieceBytes)));
    this.#uploaded += pieceBytes;
  }

  *#pause(): Generator<void> {
    const untilMs = monotonicMs() + pauseMs;
    while (monotonicMs() < untilMs) {
      this.flush();
      const isOwed = this.pollAcknowledged() > 0;
      if (isOwed !== this.isOwed) this.owe(isOwed);
      yield;
    }
  }
}
