/**
 * One session's demand since it was last told of, counted as bytes pass.
 *
 * A request is what the application marks; without a mark, an answer (the first write after something was read); without
 * an answer, a piece of payload as it came in.
 */

/** Demand of a stretch of time. */
export interface Demand {
  readonly requests: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly periodMs: number;
}

/** Bytes that are as much work as a request, for ordering only. */
const bytesPerRequest = 4096;

/** Counters of one session in this process. */
export class SessionUsage {
  #marks = 0;
  #answers = 0;
  #pieces = 0;
  #isMarked = false;
  #isAsked = false;
  bytesIn = 0;
  bytesOut = 0;
  #sinceMs = 0;
  #workPerMs = 0;

  /** Counting begins here: the session is served by this process from now on. Monotonic time. */
  begin(nowMs: number): void {
    this.#sinceMs = nowMs;
  }

  /** Bytes that came along from another endpoint, which has counted them; they still want an answer. */
  inherited(): void {
    this.#isAsked = true;
  }

  received(bytes: number): void {
    this.bytesIn += bytes;
    this.#pieces++;
    this.#isAsked = true;
  }

  written(bytes: number): void {
    this.bytesOut += bytes;
    if (!this.#isAsked) return;
    this.#isAsked = false;
    this.#answers++;
  }

  mark(n: number): void {
    this.#isMarked = true;
    this.#marks += n;
  }

  /** How much there is to tell: what it used, and how far that is from what was said last. 0: nothing new. */
  news(nowMs: number): number {
    const work = this.#requests + (this.bytesIn + this.bytesOut) / bytesPerRequest;
    return work + Math.abs(work - this.#workPerMs * Math.max(0, nowMs - this.#sinceMs));
  }

  /** What it used since the last time this was asked; counting begins anew. */
  take(nowMs: number): Demand {
    const { bytesIn, bytesOut } = this;
    const requests = this.#requests;
    const periodMs = Math.max(1, nowMs - this.#sinceMs);
    this.#workPerMs = (requests + (bytesIn + bytesOut) / bytesPerRequest) / periodMs;
    this.#marks = this.#answers = this.#pieces = this.bytesIn = this.bytesOut = 0;
    this.#sinceMs = nowMs;
    return { requests, bytesIn, bytesOut, periodMs };
  }

  get #requests(): number {
    if (this.#isMarked) return this.#marks;
    return this.#answers > 0 ? this.#answers : this.#pieces;
  }
}
