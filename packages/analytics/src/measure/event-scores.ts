/** Scores of probability forecasts of yes/no events. */

/**
 * Average precision with ties grouped: rows of equal score enter together, so an uninformed constant scores exactly the
 * base rate. NaN when there is no positive.
 */
export function averagePrecision(scores: Float64Array, labels: Uint8Array): number {
  const order = Int32Array.from({ length: scores.length }, (_, i) => i);
  order.sort((a, b) => scores[b]! - scores[a]!);
  let positives = 0;
  for (const label of labels) positives += label;
  if (positives === 0) return Number.NaN;
  let sum = 0;
  let hits = 0;
  let at = 0;
  while (at < order.length) {
    const score = scores[order[at]!]!;
    let found = 0;
    let end = at;
    while (end < order.length && scores[order[end]!]! === score) found += labels[order[end++]!]!;
    hits += found;
    sum += (found / positives) * (hits / end);
    at = end;
  }
  return sum;
}

/** Mean squared error of probabilities (Brier, Monthly Weather Review 78, 1950). */
export function brierScore(probabilities: Float64Array, labels: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < labels.length; i++) sum += (probabilities[i]! - labels[i]!) ** 2;
  return sum / labels.length;
}

/** Expected calibration error over `bins` bins of equal width (Naeini et al., AAAI 2015). */
export function calibrationError(probabilities: Float64Array, labels: Uint8Array, bins = 10): number {
  const sums = new Float64Array(bins);
  const hits = new Float64Array(bins);
  for (let i = 0; i < labels.length; i++) {
    const bin = Math.max(0, Math.min(bins - 1, Math.floor(probabilities[i]! * bins)));
    sums[bin] = sums[bin]! + probabilities[i]!;
    hits[bin] = hits[bin]! + labels[i]!;
  }
  let error = 0;
  for (let b = 0; b < bins; b++) error += Math.abs(sums[b]! - hits[b]!) / labels.length;
  return error;
}
