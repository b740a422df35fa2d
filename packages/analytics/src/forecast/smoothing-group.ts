/**
 * Naive, simple exponential smoothings, and smoothings with a damped or a full trend (Holt 1957, Gardner & McKenzie 1985;
 * Hyndman & Athanasopoulos, "Forecasting: Principles and Practice", chapter 8). Fixed constants on a grid instead of a
 * fit: the expert weights do the choosing, and choose anew when the series changes.
 */
import type { ExpertGroup } from './expert-group.js';

/** Smoothing constants: each about 1.6 times the next, so that some member is near any best value. */
const LEVELS = [0.03, 0.06, 0.12, 0.2, 0.3, 0.45, 0.6, 0.8] as const;
/** Level constant, trend constant, damping a step. */
const TRENDS = [
  [0.5, 0.1, 0.9],
  [0.25, 0.03, 0.98],
  [0.7, 0.3, 0.8],
  [0.4, 0.05, 1],
] as const;

/** Naive and all smoothings; state is a level a smoothing and a slope a trend. */
export class SmoothingGroup implements ExpertGroup {
  readonly names: readonly string[] = [
    'naive',
    ...LEVELS.map((a) => `ses-${a}`),
    ...TRENDS.map(([a, b, phi]) => `${phi < 1 ? 'damped' : 'holt'}-${a}-${b}`),
  ];
  private readonly last: Float64Array;
  private readonly levels: Float64Array;
  private readonly trendLevels: Float64Array;
  private readonly slopes: Float64Array;

  constructor(seriesCount: number) {
    this.last = new Float64Array(seriesCount).fill(Number.NaN);
    this.levels = new Float64Array(seriesCount * LEVELS.length);
    this.trendLevels = new Float64Array(seriesCount * TRENDS.length);
    this.slopes = new Float64Array(seriesCount * TRENDS.length);
  }

  update(series: number, value: number): void {
    const { levels, trendLevels, slopes } = this;
    const fresh = Number.isNaN(this.last[series]!);
    this.last[series] = value;
    for (let k = 0; k < LEVELS.length; k++) {
      const at = series * LEVELS.length + k;
      levels[at] = fresh ? value : levels[at]! + LEVELS[k]! * (value - levels[at]!);
    }
    for (let k = 0; k < TRENDS.length; k++) {
      const at = series * TRENDS.length + k;
      const [alpha, beta, damping] = TRENDS[k]!;
      if (fresh) {
        trendLevels[at] = value;
        continue;
      }
      const slope = damping * slopes[at]!;
      const ahead = trendLevels[at]! + slope;
      const error = value - ahead;
      trendLevels[at] = ahead + alpha * error;
      slopes[at] = slope + alpha * beta * error;
    }
  }

  predict(series: number, horizon: number, out: Float64Array, offset: number): void {
    out[offset] = this.last[series]!;
    let write = offset + 1;
    for (let k = 0; k < LEVELS.length; k++) out[write++] = this.levels[series * LEVELS.length + k]!;
    for (let k = 0; k < TRENDS.length; k++) {
      const at = series * TRENDS.length + k;
      const damping = TRENDS[k]![2];
      const steps = damping < 1 ? (damping * (1 - damping ** horizon)) / (1 - damping) : horizon;
      out[write++] = this.trendLevels[at]! + steps * this.slopes[at]!;
    }
  }
}
