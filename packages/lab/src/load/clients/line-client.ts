/** Sends numbered records on a fixed schedule, however late answers are, and checks every byte of every answer. */
import { ClientSession } from './client-session.js';
import type { ClientSpec } from './driver-messages.js';
import { monotonicMs } from './monotonic.js';
import { RecordChecker, encodeRecord } from './records.js';

/** A line-protocol client; latency counts from the scheduled instant, so a stall is not hidden by what it delays. */
export class LineClient extends ClientSession {
  readonly #checker: RecordChecker;
  /** Scheduled instants of records not answered yet, in order. */
  readonly #scheduled: number[] = [];
  #firstUnanswered = 0;
  protected dueMs = 0;
  #sent = 0;

  constructor(spec: ClientSpec) {
    super(spec);
    this.#checker = new RecordChecker(spec.tag, spec.recordBytes);
  }

  /** Sets the instant of the first record. */
  schedule(firstMs: number): void {
    this.dueMs = firstMs;
  }

  get isDrained(): boolean {
    return this.#firstUnanswered >= this.#sent;
  }

  staleMs(nowMs: number): number {
    const scheduledMs = this.#scheduled[this.#firstUnanswered];
    return scheduledMs === undefined ? 0 : nowMs - scheduledMs;
  }

  pump(nowMs: number): void {
    while (this.dueMs > 0 && nowMs >= this.dueMs) {
      this.#scheduled.push(this.dueMs);
      this.dueMs = this.nextDueMs();
      if (!this.isOpen) continue;
      this.socket.write(encodeRecord(this.spec.tag, this.#sent++, this.spec.recordBytes));
      this.sentBytes += this.spec.recordBytes;
    }
  }

  /** When the record after the one at `dueMs` is sent. */
  protected nextDueMs(): number {
    return this.dueMs + 1000 / this.spec.recordsPerSec;
  }

  tally(): RecordChecker['tally'] {
    if (this.#checker.firstTrouble !== undefined) this.trouble ??= this.#checker.firstTrouble;
    return this.#checker.tally;
  }

  protected onBytes(bytes: Buffer): void {
    this.#checker.push(bytes, (n) => {
      const scheduledMs = this.#scheduled[n];
      if (scheduledMs !== undefined) this.samples.add(scheduledMs, monotonicMs() - scheduledMs);
      this.#firstUnanswered = n + 1;
    });
  }
}
