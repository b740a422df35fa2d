/** The median of paired values, and how sure it is. */

/** A median with an interval whose ends are measured values. */
export interface MedianInterval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** Probability that the interval holds the true median, whatever the distribution. */
  readonly coverage: number;
  readonly pairs: number;
}

/** Coverage that is asked for; fewer than six pairs give what they can. */
const wantedCoverage = 0.95;

/**
 * Median of `values` with the narrowest interval of order statistics that covers 95 %, or the widest there is (Conover,
 * *Practical Nonparametric Statistics*, ch. 3). Undefined for no values.
 */
export function medianInterval(values: readonly number[]): MedianInterval | undefined {
  const n = values.length;
  const sorted = values.toSorted((x, y) => x - y);
  const at = (i: number): number => sorted[i] ?? Number.NaN;
  if (n === 0) return undefined;
  let cut = 0;
  while (2 * (cut + 1) < n && coverageOf(n, cut + 1) >= wantedCoverage) cut++;
  const middle = (n - 1) / 2;
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    low: at(cut),
    high: at(n - 1 - cut),
    coverage: coverageOf(n, cut),
    pairs: n,
  };
}

/** Ratio of two durations; two noughts are equal. */
export function ratioOf(value: number, reference: number): number {
  if (reference > 0) return value / reference;
  return value > 0 ? Number.POSITIVE_INFINITY : 1;
}

/** Probability that the median lies between the order statistics `cut` and n − 1 − cut. */
function coverageOf(n: number, cut: number): number {
  let outside = 0;
  let choose = 1;
  for (let k = 0; k <= cut; k++) {
    outside += choose;
    choose = (choose * (n - k)) / (k + 1);
  }
  return Math.max(0, 1 - (2 * outside) / 2 ** n);
}
