/**
 * Work on many sessions, a share in each turn of the event loop: what comes in between (requests to take over a dead
 * endpoint's sessions, acknowledgements) does not wait until the last one is done.
 */

/** Bytes handled in one turn; copied, summed and encrypted they take a few milliseconds. */
const bytesPerTurn = 1024 * 1024;

/** Items wait in the order they were added; none stands twice. */
export class PacedQueue<T> {
  readonly #work: (item: T) => number;
  readonly #items = new Set<T>();
  #isScheduled = false;

  /** `work` returns the bytes that it handled. */
  constructor(work: (item: T) => number) {
    this.#work = work;
  }

  add(item: T): void {
    this.#items.add(item);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#turn());
  }

  delete(item: T): void {
    this.#items.delete(item);
  }

  #turn(): void {
    this.#isScheduled = false;
    let bytes = 0;
    for (const item of this.#items) {
      this.#items.delete(item);
      bytes += this.#work(item);
      if (bytes >= bytesPerTurn) break;
    }
    const [next] = this.#items;
    if (next !== undefined) this.add(next);
  }
}
