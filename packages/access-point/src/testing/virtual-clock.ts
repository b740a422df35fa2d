/** A clock that moves only when a test says so. */
import type { Clock } from '@restitch/core';

/** A clock and the hand that moves it. */
export class VirtualClock implements Clock {
  #nowMs = 1000;
  #nextId = 1;
  readonly #timers = new Map<number, { atMs: number; fn: () => void }>();

  wallMs(): number {
    return this.#nowMs;
  }

  monotonicNs(): bigint {
    return BigInt(Math.round(this.#nowMs * 1e6));
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, fn: () => void): () => void {
    const id = this.#nextId++;
    this.#timers.set(id, { atMs: this.#nowMs + delayMs, fn });
    return () => void this.#timers.delete(id);
  }

  /** Moves time on and runs, in order, what falls due. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs;
    // Whoever has set the timers goes on first, as everywhere.
    await settleMicrotasks();
    for (;;) {
      const due = [...this.#timers]
        .filter(([, t]) => t.atMs <= endMs)
        .sort((a, b) => a[1].atMs - b[1].atMs || a[0] - b[0])[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#nowMs = Math.max(this.#nowMs, due[1].atMs);
      due[1].fn();
      await settleMicrotasks();
    }
    this.#nowMs = endMs;
  }
}

/** Lets everything that waits for a microtask run. */
export async function settleMicrotasks(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve();
}
