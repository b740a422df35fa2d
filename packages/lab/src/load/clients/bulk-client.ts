/** Sends a long stream as fast as it goes and checks its echo: upload and download at once on one connection. */
import { ClientSession } from './client-session.js';
import type { ClientSpec } from './driver-messages.js';
import { monotonicMs } from './monotonic.js';
import { findMismatch, patternAt } from './pattern.js';

const pieceBytes = 65_536;
/** Enough to keep both directions of any laboratory link full, little enough to drain quickly. */
const defaultMaxAheadBytes = 4 * 1024 * 1024;
/** Shorter pauses are the ordinary grain of a stream and would fill memory. */
const shortestPauseMs = 0.2;

/** A bulk client; its samples are the pauses in which no byte came back. */
export class BulkClient extends ClientSession {
  #receivedBytes = 0;
  #mismatchedBytes = 0;
  #lastProgressMs = 0;
  #startedMs = 0;

  constructor(spec: ClientSpec) {
    super(spec);
    this.socket.on('drain', () => this.pump(monotonicMs()));
  }

  get isDrained(): boolean {
    return this.#receivedBytes >= this.sentBytes;
  }

  staleMs(nowMs: number): number {
    return this.isDrained ? 0 : nowMs - Math.max(this.#lastProgressMs, this.#startedMs);
  }

  pump(nowMs: number): void {
    if (!this.isOpen) return;
    if (this.#startedMs === 0) this.#startedMs = nowMs;
    const bound = this.spec.bytesPerSec ?? 0;
    const allowed = bound === 0 ? Number.POSITIVE_INFINITY : ((nowMs - this.#startedMs) * bound) / 1000;
    while (
      !this.socket.writableNeedDrain &&
      this.sentBytes < allowed &&
      this.sentBytes - this.#receivedBytes < (this.spec.maxAheadBytes ?? defaultMaxAheadBytes)
    ) {
      const dueBytes = Math.min(pieceBytes, Math.ceil(allowed - this.sentBytes));
      const piece = patternAt(this.sentBytes, dueBytes);
      this.socket.write(piece);
      this.sentBytes += piece.length;
    }
  }

  tally(): {
    receivedBytes: number;
    mismatchedBytes: number;
    lostBytes: number;
    duplicatedBytes: number;
  } {
    const duplicatedBytes = Math.max(0, this.#receivedBytes - this.sentBytes);
    return {
      receivedBytes: this.#receivedBytes,
      mismatchedBytes: this.#mismatchedBytes,
      lostBytes: 0,
      duplicatedBytes,
    };
  }

  protected onBytes(bytes: Buffer): void {
    const nowMs = monotonicMs();
    const pauseMs = nowMs - this.#lastProgressMs;
    if (this.#lastProgressMs > 0 && pauseMs >= shortestPauseMs) this.samples.add(nowMs, pauseMs);
    this.#lastProgressMs = nowMs;
    const wrongAt = findMismatch(bytes, this.#receivedBytes);
    if (wrongAt >= 0) {
      this.trouble ??= `byte ${this.#receivedBytes + wrongAt} of the echoed stream is wrong`;
      this.#mismatchedBytes += bytes.length - wrongAt;
    }
    this.#receivedBytes += bytes.length;
  }
}
