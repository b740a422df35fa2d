/**
 * Time as a value that is handed in, so that tests own it. `Date.now()` stands here and nowhere else.
 *
 * The monotonic clock is CLOCK_MONOTONIC, the same clock BPF reads with bpf_ktime_get_ns: a deadline computed
 * here can be written into a map and kept by the kernel.
 */

/** Wall and monotonic time, and owned timers. */
export interface Clock {
  /** Wall time, milliseconds since 1970. */
  wallMs(): number;
  /** CLOCK_MONOTONIC, nanoseconds. */
  monotonicNs(): bigint;
  /** CLOCK_MONOTONIC, milliseconds with fractions. */
  monotonicMs(): number;
  /** Runs `fn` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, fn: () => void): () => void;
}

/** The longest that Node's timers hold, 24.8 days: a longer one would run after 1 ms. */
const maxTimerMs = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicNs: () => process.hrtime.bigint(),
  monotonicMs: () => Number(process.hrtime.bigint() / 1000n) / 1000,
  after(delayMs, fn) {
    let timer: NodeJS.Timeout;
    const wait = (leftMs: number): void => {
      timer =
        leftMs <= maxTimerMs
          ? setTimeout(fn, leftMs)
          : setTimeout(() => wait(leftMs - maxTimerMs), maxTimerMs);
    };
    wait(delayMs);
    return () => clearTimeout(timer);
  },
};
