/** From quantiles of a forecast to the probability of a limit being exceeded, where no classifier has been trained. */

/** P10, P50 and P90 of one forecast, ascending. */
export interface ForecastBand {
  readonly p10: number;
  readonly p50: number;
  readonly p90: number;
}

/**
 * P(value > limit) for a distribution through the three quantiles: linear between them, exponential tails that continue at
 * the slope of their side (a Laplace distribution has exactly such tails). NaN when a quantile is missing.
 */
export function exceedanceProbability(band: ForecastBand, limit: number): number {
  const { p10, p50, p90 } = band;
  if (!(p10 <= p50 && p50 <= p90)) return Number.NaN;
  if (limit >= p90) {
    const spread = p90 - p50;
    return spread > 0 ? 0.1 * Math.exp(-((limit - p90) / spread) * Math.log(5)) : limit > p90 ? 0 : 0.1;
  }
  if (limit >= p50) return 0.5 - 0.4 * ((limit - p50) / (p90 - p50));
  if (limit >= p10) return 0.9 - 0.4 * ((limit - p10) / (p50 - p10));
  const spread = p50 - p10;
  return spread > 0 ? 1 - 0.1 * Math.exp(-((p10 - limit) / spread) * Math.log(5)) : 1;
}
