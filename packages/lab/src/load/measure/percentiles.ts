/** Order statistics of measured values. */

/** What is printed of a distribution. */
export interface Distribution {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** The q-quantile (0..1) of values sorted ascending, by the nearest rank: a value that was measured. 0 if there are none. */
export function quantileOfSorted(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return 0;
  const rank = Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1));
  return sorted[rank] ?? 0;
}

/** Median, 99th percentile and largest value, rounded to microseconds (of milliseconds). */
export function describeValues(values: readonly number[]): Distribution {
  const sorted = Float64Array.from(values).sort();
  const round = (value: number): number => Math.round(value * 1000) / 1000;
  return {
    p50: round(quantileOfSorted(sorted, 0.5)),
    p99: round(quantileOfSorted(sorted, 0.99)),
    max: round(sorted[sorted.length - 1] ?? 0),
  };
}
