/** From quantiles of a forecast to the probability of a limit being exceeded, where no classifier has been trained. */

import { sortQuantiles } from '../measure/coherence.js';

/** P10, P50 and P90 of one forecast, ascending. */
export interface ForecastBand {
  readonly p10: number;
  readonly p50: number;
  readonly p90: number;
}

/**
 * P(value > limit) for a distribution through the three quantiles: linear between them, exponential tails that continue at
 * the slope of their side (a Laplace distribution has exactly such tails). NaN when a quantile is missing. Quantiles
 * that do not ascend are sorted: they are no reason to say that nothing can be said.
 */
export function exceedanceProbability(band: ForecastBand, limit: number): number {
  const { p10, p50, p90 } = isAscending(band) ? band : ascending(band);
  if (!(p10 <= p90)) return Number.NaN;
  if (limit >= p90) {
    const spread = p90 - p50;
    return spread > 0 ? 0.1 * Math.exp(-((limit - p90) / spread) * Math.log(5)) : limit > p90 ? 0 : 0.1;
  }
  if (limit >= p50) return 0.5 - 0.4 * ((limit - p50) / (p90 - p50));
  if (limit >= p10) return 0.9 - 0.4 * ((limit - p10) / (p50 - p10));
  const spread = p50 - p10;
  return spread > 0 ? 1 - 0.1 * Math.exp(-((p10 - limit) / spread) * Math.log(5)) : 1;
}

function isAscending({ p10, p50, p90 }: ForecastBand): boolean {
  return p10 <= p50 && p50 <= p90;
}

function ascending({ p10, p50, p90 }: ForecastBand): ForecastBand {
  const sorted = Float64Array.of(p10, p50, p90);
  if (sorted.some(Number.isNaN)) return { p10: Number.NaN, p50: Number.NaN, p90: Number.NaN };
  sortQuantiles(sorted);
  return { p10: sorted[0]!, p50: sorted[1]!, p90: sorted[2]! };
}
