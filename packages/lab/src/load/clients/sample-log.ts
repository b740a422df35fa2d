/** A growing list of number pairs in one typed array: a run has millions of samples, and they travel to another process. */

/** Pairs (atMs, valueMs), in the order they were added. */
export class SampleLog {
  #values = new Float64Array(1024);
  #length = 0;

  /** Adds one pair. */
  add(atMs: number, valueMs: number): void {
    if (this.#length + 2 > this.#values.length) {
      const larger = new Float64Array(this.#values.length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length++] = atMs;
    this.#values[this.#length++] = valueMs;
  }

  /** All pairs, flat. A copy of its own, so that only what is used travels. */
  toArray(): Float64Array {
    return this.#values.slice(0, this.#length);
  }
}
