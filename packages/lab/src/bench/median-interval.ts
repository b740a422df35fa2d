/** Median with an interval that assumes nothing about the distribution: order statistics and the binomial. */
import { RestitchError } from '@restitch/core';

/** A median and the interval that covers the true one with at least 95 %. */
export interface MedianInterval {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** Of at least 6 values; fewer have no 95 % interval. Throws `usage`. */
export function medianInterval(values: readonly number[]): MedianInterval {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  if (n < 6) throw new RestitchError('usage', `${n} values: a 95 % interval of the median needs 6`);
  const at = (i: number): number => sorted[i] ?? Number.NaN;
  const median = n % 2 === 1 ? at((n - 1) / 2) : (at(n / 2 - 1) + at(n / 2)) / 2;
  // P(fewer than k of n values lie below the true median) = binomial CDF at k − 1 with p = 1/2; two tails.
  let rank = 0;
  let tail = 0;
  let term = 0.5 ** n;
  for (let k = 0; k < n / 2; k++) {
    tail += term;
    if (tail > 0.025) break;
    rank = k;
    term = (term * (n - k)) / (k + 1);
  }
  return { median, low: at(rank), high: at(n - 1 - rank) };
}
