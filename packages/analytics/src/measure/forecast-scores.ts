/** Scores of forecasts against what happened; each takes plain arrays and knows nothing of models. */

/** Mean absolute error over rows where both numbers are finite; NaN when there is none. */
export function meanAbsoluteError(forecasts: Float64Array, actuals: Float64Array): number {
  let sum = 0;
  let count = 0;
  for (let i = 0; i < actuals.length; i++) {
    const error = Math.abs(forecasts[i]! - actuals[i]!);
    if (!Number.isFinite(error)) continue;
    sum += error;
    count++;
  }
  return count === 0 ? Number.NaN : sum / count;
}

/** Pinball loss of one quantile forecast (Koenker & Bassett, Econometrica 46, 1978). */
export function pinballLoss(forecast: number, actual: number, ratio: number): number {
  const error = actual - forecast;
  return error >= 0 ? ratio * error : (ratio - 1) * error;
}

/** Geometric mean of positive numbers; NaN for none. */
export function geometricMean(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  return Math.exp(values.reduce((sum, v) => sum + Math.log(v), 0) / values.length);
}

/** Quantile with linear interpolation between order statistics (type 7, numpy's default) of finite values. */
export function quantileOf(values: Float64Array, ratio: number): number {
  const sorted = values.filter((v) => Number.isFinite(v)).sort();
  if (sorted.length === 0) return Number.NaN;
  const place = ratio * (sorted.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (place - low) * (sorted[high]! - sorted[low]!);
}
