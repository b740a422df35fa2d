/** Says its tag once and then only reads numbered records: a client that would never notice by itself that nobody serves it. */
import { ClientSession } from './client-session.js';
import type { ClientSpec } from './driver-messages.js';
import { monotonicMs } from './monotonic.js';
import { RecordChecker } from './records.js';

/** Records come every 20 ms; a stream that has been silent for this long is stuck. */
const silentMs = 1000;

/** A reading client; its samples are the pauses between what came. */
export class ReadClient extends ClientSession {
  readonly #checker: RecordChecker;
  #lastMs = 0;

  constructor(spec: ClientSpec) {
    super(spec);
    this.#checker = new RecordChecker(spec.tag, spec.recordBytes);
    this.socket.once('connect', () => {
      this.#lastMs = monotonicMs();
      this.socket.write(`${spec.tag}\n`);
    });
  }

  get isDrained(): boolean {
    return this.staleMs(monotonicMs()) < silentMs;
  }

  staleMs(nowMs: number): number {
    return this.isOpen ? nowMs - this.#lastMs : 0;
  }

  pump(): void {}

  tally(): RecordChecker['tally'] {
    const { tally, firstTrouble } = this.#checker;
    if (firstTrouble !== undefined) this.trouble ??= firstTrouble;
    if (this.isDrained) return tally;
    const forMs = Math.round(this.staleMs(monotonicMs()));
    this.trouble ??= `no record for ${forMs} ms after number ${this.#checker.nextNumber - 1}`;
    return { ...tally, lostBytes: tally.lostBytes + this.spec.recordBytes };
  }

  protected onBytes(bytes: Buffer): void {
    const nowMs = monotonicMs();
    this.samples.add(nowMs, nowMs - this.#lastMs);
    this.#lastMs = nowMs;
    this.#checker.push(bytes, () => undefined);
  }
}
