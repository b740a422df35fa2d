/**
 * What several forecasts say must be possible at once: quantiles ascend, and what happens within a time happens within a longer
 * one. Both are projections onto what is possible, so they are nearer to the outcome, or as near, and never further: sorting
 * does not raise the sum of pinball losses, pooling does not raise the sum of Brier scores.
 * Sources: Chernozhukov, Fernández-Val & Galichon, "Quantile and probability curves without crossing", Econometrica 78, 2010;
 * Barlow et al., "Statistical inference under order restrictions", 1972 (pool adjacent violators).
 */

/** Sorts a few values in place, ascending. NaN stays where it is, and what is beside it is not compared with it. */
export function sortQuantiles(values: Float64Array): void {
  for (let i = 1; i < values.length; i++) {
    const value = values[i]!;
    let at = i;
    for (; at > 0 && values[at - 1]! > value; at--) values[at] = values[at - 1]!;
    values[at] = value;
  }
}

/** Makes probabilities of "within h" ascend with h, in place: neighbours that fall are replaced by their mean. NaN is left out. */
export function nestProbabilities(probabilities: Float64Array): void {
  const sums: number[] = [];
  const counts: number[] = [];
  for (const probability of probabilities) {
    if (Number.isNaN(probability)) continue;
    sums.push(probability);
    counts.push(1);
    for (let k = sums.length - 1; k > 0 && sums[k - 1]! * counts[k]! > sums[k]! * counts[k - 1]!; k--) {
      sums[k - 1] = sums[k - 1]! + sums.pop()!;
      counts[k - 1] = counts[k - 1]! + counts.pop()!;
    }
  }
  let block = 0;
  let used = 0;
  let before = 0;
  for (let i = 0; i < probabilities.length; i++) {
    if (Number.isNaN(probabilities[i]!)) continue;
    if (used === counts[block]!) {
      block++;
      used = 0;
    }
    // The last digit of a mean may be below that of the block before.
    before = Math.max(before, Math.min(1, sums[block]! / counts[block]!));
    probabilities[i] = before;
    used++;
  }
}
