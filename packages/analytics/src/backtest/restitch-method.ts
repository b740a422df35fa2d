/** The module under test as a backtest sees it: fed row by row, asked at each origin, trained when due. */
import { PanelForecaster } from '../forecast/panel-forecaster.js';
import type { ExpertGroup } from '../forecast/expert-group.js';
import { nestProbabilities } from '../measure/coherence.js';
import { quantileOf } from '../measure/forecast-scores.js';
import { OverloadModel } from '../risk/overload-model.js';
import { bandLogOdds } from '../risk/overload-watch.js';
import { createRandom } from '../seeded-random.js';
import { firstOrigin, type PanelData, targetRow } from './panel-data.js';

/**
 * A daemon refits its trees every 2,880 steps for ever. Of two million rows that is 690 fits, nine tenths of the time, most of which
 * see almost what the one before saw.
 */
const ALL_FITS_ROWS = 57_600;
const FIT_GROWTH = 1.05;

/** Whether a fit that is due at `row` is made, the last one having been at `lastRow`: every one at first, later only for 5 % more rows. */
export function isFitWorthwhile(row: number, lastRow: number): boolean {
  return row <= ALL_FITS_ROWS || row >= FIT_GROWTH * lastRow;
}

/** What to run. */
export interface MethodOptions {
  readonly horizons: readonly number[];
  /** Quantile of the first half that is the limit; `undefined` leaves the classifier out. */
  readonly limitRatio?: number | undefined;
  readonly seed: number;
  readonly extraExperts?: (seriesCount: number) => readonly ExpertGroup[];
  /** Called now and then with the share of rows done, 0..1. */
  readonly onProgress?: (ratio: number) => void;
}

/** Forecasts of one series; arrays a horizon, indexed by row, NaN where none was due. */
export interface SeriesForecasts {
  readonly medians: readonly Float64Array[];
  readonly lows: readonly Float64Array[];
  readonly highs: readonly Float64Array[];
  /** Probability of crossing the limit in (t, t + h]; only where the present value is not above it. */
  readonly overload: readonly Float64Array[];
  readonly limit: number;
}

/** Runs the forecaster (and the classifier) over a panel in order of time. */
export function runRestitch(data: PanelData, options: MethodOptions): readonly SeriesForecasts[] {
  return new MethodRun(data, options).run();
}

class MethodRun {
  private readonly panel: PanelForecaster;
  private readonly results: (SeriesForecasts & { limit: number })[];
  private readonly origins: Int32Array;
  private readonly limits: Float64Array;
  private readonly rawScores: readonly Float64Array[][];
  private readonly probabilities: Float64Array;
  private readonly fittedAt = { panel: 0, overload: 0 };
  private overload: OverloadModel | undefined;

  constructor(
    private readonly data: PanelData,
    private readonly options: MethodOptions,
  ) {
    const seriesCount = data.values.length;
    const rowCount = data.timesS.length;
    const { horizons } = options;
    this.probabilities = new Float64Array(horizons.length);
    const extra = options.extraExperts?.(seriesCount);
    this.panel = new PanelForecaster({
      seriesCount,
      horizons,
      stepS: data.stepS,
      calendar: data.calendar,
      auxCount: data.auxNames.length,
      seed: options.seed,
      ...(extra === undefined ? {} : { extraExperts: extra }),
    });
    const blank = () => horizons.map(() => new Float64Array(rowCount).fill(Number.NaN));
    this.results = data.values.map(() => ({
      medians: blank(),
      lows: blank(),
      highs: blank(),
      overload: options.limitRatio === undefined ? [] : blank(),
      limit: Number.NaN,
    }));
    this.rawScores = data.values.map(() => (options.limitRatio === undefined ? [] : blank()));
    this.origins = Int32Array.from(data.values, firstOrigin);
    this.limits = new Float64Array(seriesCount).fill(Number.POSITIVE_INFINITY);
  }

  run(): readonly SeriesForecasts[] {
    const { data, panel, options } = this;
    const seriesCount = data.values.length;
    const auxWidth = seriesCount * data.auxNames.length;
    const present = new Float64Array(seriesCount);
    // Limits are known when the last series reaches its second half; a panel has one classifier.
    const limitRow = this.origins.reduce((a, b) => Math.max(a, b), 0);
    for (let row = 0; row < data.timesS.length; row++) {
      for (let s = 0; s < seriesCount; s++) present[s] = data.values[s]![row]!;
      panel.observe(data.timesS[row]!, present, data.aux?.subarray(row * auxWidth, (row + 1) * auxWidth));
      if (panel.trainingDue() && this.isWorthAFit(row, 'panel')) panel.train();
      if (options.limitRatio !== undefined) this.stepOverload(row, limitRow, options.limitRatio);
      for (let s = 0; s < seriesCount; s++) {
        if (row >= this.origins[s]! && Number.isFinite(present[s]!)) this.record(s, row, present[s]!);
      }
      if (row % 500 === 0) options.onProgress?.(row / data.timesS.length);
    }
    return this.results;
  }

  private isWorthAFit(row: number, what: 'panel' | 'overload'): boolean {
    if (!isFitWorthwhile(row, this.fittedAt[what])) return false;
    this.fittedAt[what] = row;
    return true;
  }

  private record(s: number, row: number, value: number): void {
    const { panel, options, overload } = this;
    const horizonCount = options.horizons.length;
    const probabilities = this.probabilities.fill(Number.NaN);
    for (let h = 0; h < horizonCount; h++) {
      const cell = s * horizonCount + h;
      const result = this.results[s]!;
      result.medians[h]![row] = panel.medians[cell]!;
      result.lows[h]![row] = panel.quantiles[cell * 2]!;
      result.highs[h]![row] = panel.quantiles[cell * 2 + 1]!;
      if (overload === undefined || value > this.limits[s]!) continue;
      const seen = { series: s, value, scale: panel.frame.scale(s), features: panel.featuresOf(s) };
      const score = overload.blend(h, seen, bandLogOdds(panel, s, h, this.limits[s]!));
      this.rawScores[s]![h]![row] = score;
      probabilities[h] = overload.probability(s, h, score);
    }
    if (overload === undefined) return;
    nestProbabilities(probabilities);
    for (let h = 0; h < horizonCount; h++) this.results[s]!.overload[h]![row] = probabilities[h]!;
  }

  private stepOverload(row: number, limitRow: number, ratio: number): void {
    const { data, options, panel } = this;
    if (row === limitRow) {
      for (let s = 0; s < data.values.length; s++) {
        this.limits[s] = quantileOf(data.values[s]!.subarray(0, this.origins[s]!), ratio);
        this.results[s]!.limit = this.limits[s]!;
      }
      const { rows, frame } = panel;
      const random = createRandom(options.seed + 1);
      this.overload = new OverloadModel(
        rows,
        frame.featureCount,
        options.horizons.length,
        this.limits,
        random,
      );
      this.overload.warmStart();
    }
    const { overload } = this;
    if (overload === undefined) return;
    // Outcomes of (issued, issued + h] are known now and not a row earlier.
    for (let h = 0; h < options.horizons.length; h++) {
      const issued = row - options.horizons[h]!;
      if (issued < limitRow) continue;
      for (let s = 0; s < data.values.length; s++) {
        const score = this.rawScores[s]![h]![issued]!;
        if (score !== score) continue;
        const crossed = crossedLimit(data, s, issued, options.horizons[h]!, this.limits[s]!);
        if (crossed !== undefined) overload.learn(s, h, score, crossed);
      }
    }
    if (row > limitRow && overload.trainingDue() && this.isWorthAFit(row, 'overload')) overload.train();
  }
}

/** Whether any value in (row, row + horizon] lies above the limit; `undefined` across a gap or past the end. */
export function crossedLimit(
  data: PanelData,
  s: number,
  row: number,
  horizon: number,
  limit: number,
): boolean | undefined {
  const values = data.values[s]!;
  if (targetRow(data, values, row, horizon) < 0) return undefined;
  for (let k = row + 1; k <= row + horizon; k++) if (values[k]! > limit) return true;
  return false;
}
