/**
 * The protocol of a backtest: origins are all rows of the second half of each series, forecasts are made from rows up to
 * the origin, targets across a gap are not scored, errors are relative to the naive forecast on the same origins and
 * averaged geometrically over series.
 */
import { averagePrecision, brierScore, calibrationError } from '../measure/event-scores.js';
import { geometricMean, pinballLoss } from '../measure/forecast-scores.js';
import { BASELINES, type BaselineName, runBaseline } from './baselines.js';
import { firstOrigin, type PanelData, repeatedRatio, targetRow } from './panel-data.js';
import { crossedLimit, type MethodOptions, runRestitch, type SeriesForecasts } from './restitch-method.js';

/** Series that repeat their value more often are reported apart: a band of width zero covers a tie or nothing. */
const REPEATED_BOUND = 0.2;

/** Scores of probabilities of an event. */
interface EventScores {
  readonly ap: number;
  readonly brier: number;
  readonly ece: number;
}

/** Overload within one horizon. */
interface OverloadScores {
  readonly restitch: EventScores;
  /** The present value, scaled to 0..1 by its place below the limit, as a threshold rule sees it. */
  readonly reactive: EventScores;
  readonly baseRate: number;
  readonly rows: number;
}

/** One horizon: errors relative to naive; `pinball` is the mean of P10, P50 and P90 in units of the naive error. */
export interface HorizonScores {
  readonly h: number;
  readonly restitch: { readonly rmae: number; readonly pinball: number; readonly coverage80: number };
  readonly naive: number;
  readonly ses: number;
  readonly ets: number;
  readonly seasonal: number;
  readonly overload?: OverloadScores;
  /** Rows scored; in the total also the coverage of series that mostly repeat their value, which `coverage80` leaves out. */
  readonly rows: number;
  readonly coverage80Repeated?: number;
}

/** One series. */
interface SeriesScores {
  readonly name: string;
  readonly repeatedRatio: number;
  readonly horizons: readonly HorizonScores[];
}

/** What a backtest returns. */
export interface BacktestReport {
  readonly horizons: readonly HorizonScores[];
  readonly series: readonly SeriesScores[];
  /** Series that at some horizon had no naive error to compare with, or no scored row; they do not enter there. */
  readonly leftOut: number;
  readonly leftOutSeries: readonly { readonly name: string; readonly h: number; readonly reason: string }[];
}

/** Everything scored of one series at one horizon, before it is averaged. */
interface Cell {
  readonly name: string;
  readonly h: number;
  readonly repeatedRatio: number;
  rows: number;
  covered: number;
  naiveError: number;
  error: number;
  pinball: number;
  readonly baselineErrors: Map<BaselineName, number>;
  readonly events: EventRows;
}

interface EventRows {
  readonly probabilities: number[];
  readonly reactive: number[];
  readonly labels: number[];
}

/** Forecasts of one panel to be plotted or inspected. */
export interface PanelForecasts {
  readonly data: PanelData;
  readonly forecasts: readonly SeriesForecasts[];
}

/** Everything scored of one panel; plain data that may cross to another thread. What is inside is this module's business. */
export type ScoredPanel = readonly (readonly Cell[])[];

/** Runs and scores one panel; `onForecasts` receives its forecasts before they are dropped. */
export function scorePanel(
  data: PanelData,
  options: MethodOptions,
  onForecasts?: (panel: PanelForecasts) => void,
): ScoredPanel {
  const forecasts = runRestitch(data, options);
  onForecasts?.({ data, forecasts });
  return data.values.map((_, s) => scoreSeries(data, s, forecasts[s]!, options));
}

/** The report over panels that were scored with the same options. */
export function summariseBacktest(panels: readonly ScoredPanel[], options: MethodOptions): BacktestReport {
  return summarise(panels.flat(), options);
}

/** Runs all panels one after the other. */
export function runBacktest(panels: readonly PanelData[], options: MethodOptions): BacktestReport {
  return summariseBacktest(
    panels.map((data) => scorePanel(data, options)),
    options,
  );
}

function scoreSeries(data: PanelData, s: number, forecasts: SeriesForecasts, options: MethodOptions): Cell[] {
  const values = data.values[s]!;
  const from = firstOrigin(values);
  const baselines = BASELINES.map((name) => ({ name, points: runBaseline(name, data, s, options.horizons) }));
  const repeats = repeatedRatio(values);
  return options.horizons.map((h, hi) => {
    const cell: Cell = {
      name: data.names[s]!,
      h,
      repeatedRatio: repeats,
      rows: 0,
      covered: 0,
      naiveError: 0,
      error: 0,
      pinball: 0,
      baselineErrors: new Map(),
      events: { probabilities: [], reactive: [], labels: [] },
    };
    for (let row = from; row < values.length; row++) {
      if (!Number.isFinite(values[row]!)) continue;
      const target = targetRow(data, values, row, h);
      if (target < 0) continue;
      scorePoint(cell, values[row]!, values[target]!, forecasts, hi, row);
      for (const { name, points } of baselines) {
        const error = Math.abs(values[target]! - points[hi]![row]!);
        cell.baselineErrors.set(name, (cell.baselineErrors.get(name) ?? 0) + error);
      }
      if (options.limitRatio !== undefined) scoreEvent(cell, data, s, forecasts, hi, row);
    }
    return cell;
  });
}

function scorePoint(
  cell: Cell,
  value: number,
  actual: number,
  forecasts: SeriesForecasts,
  hi: number,
  row: number,
): void {
  const median = forecasts.medians[hi]![row]!;
  const low = forecasts.lows[hi]![row]!;
  const high = forecasts.highs[hi]![row]!;
  cell.rows++;
  cell.naiveError += Math.abs(actual - value);
  cell.error += Math.abs(actual - median);
  cell.pinball +=
    (pinballLoss(low, actual, 0.1) + pinballLoss(median, actual, 0.5) + pinballLoss(high, actual, 0.9)) / 3;
  if (actual >= low && actual <= high) cell.covered++;
}

function scoreEvent(
  cell: Cell,
  data: PanelData,
  s: number,
  forecasts: SeriesForecasts,
  hi: number,
  row: number,
): void {
  const probability = forecasts.overload[hi]![row]!;
  if (probability !== probability) return;
  const crossed = crossedLimit(data, s, row, cell.h, forecasts.limit);
  if (crossed === undefined) return;
  cell.events.probabilities.push(probability);
  const value = data.values[s]![row]!;
  cell.events.reactive.push(
    forecasts.limit > 0
      ? Math.max(0, Math.min(1, value / forecasts.limit))
      : value >= forecasts.limit
        ? 1
        : 0,
  );
  cell.events.labels.push(crossed ? 1 : 0);
}

function summarise(cells: readonly (readonly Cell[])[], options: MethodOptions): BacktestReport {
  const leftOutSeries: { name: string; h: number; reason: string }[] = [];
  let leftOut = 0;
  for (const row of cells) {
    const before = leftOutSeries.length;
    for (const cell of row) {
      const reason =
        cell.rows === 0 ? 'no scored row' : cell.naiveError === 0 ? 'naive error is zero' : undefined;
      if (reason !== undefined) leftOutSeries.push({ name: cell.name, h: cell.h, reason });
    }
    if (leftOutSeries.length > before) leftOut++;
  }
  const withEvents = options.limitRatio !== undefined;
  return {
    horizons: options.horizons.map((h, hi) =>
      total(
        h,
        cells.map((row) => row[hi]!),
        withEvents,
      ),
    ),
    series: cells.map((row) => ({
      name: row[0]!.name,
      repeatedRatio: row[0]!.repeatedRatio,
      horizons: row.map((cell) => total(cell.h, [cell], withEvents)),
    })),
    leftOut,
    leftOutSeries,
  };
}

function total(h: number, all: readonly Cell[], withEvents: boolean): HorizonScores {
  const cells = all.filter((cell) => cell.rows > 0 && cell.naiveError > 0);
  const relative = (error: (cell: Cell) => number): number =>
    geometricMean(cells.map((cell) => Math.max(error(cell) / cell.naiveError, 1e-9)));
  const baseline = (name: BaselineName): number => relative((cell) => cell.baselineErrors.get(name)!);
  const steady = cells.filter((cell) => cell.repeatedRatio <= REPEATED_BOUND);
  const repeating = cells.filter((cell) => cell.repeatedRatio > REPEATED_BOUND);
  const scores: HorizonScores = {
    h,
    restitch: {
      rmae: relative((cell) => cell.error),
      pinball: relative((cell) => cell.pinball),
      coverage80: coverage(all.length === 1 ? cells : steady),
    },
    naive: baseline('naive'),
    ses: baseline('ses'),
    ets: baseline('ets'),
    seasonal: baseline('seasonal'),
    rows: cells.reduce((sum, cell) => sum + cell.rows, 0),
    ...(all.length > 1 && repeating.length > 0 ? { coverage80Repeated: coverage(repeating) } : {}),
    ...(withEvents ? { overload: overloadScores(all) } : {}),
  };
  return scores;
}

function coverage(cells: readonly Cell[]): number {
  const rows = cells.reduce((sum, cell) => sum + cell.rows, 0);
  return cells.reduce((sum, cell) => sum + cell.covered, 0) / rows;
}

function overloadScores(cells: readonly Cell[]): OverloadScores {
  const labels = Uint8Array.from(cells.flatMap((cell) => cell.events.labels));
  const score = (pick: (rows: EventRows) => number[]): EventScores => {
    const values = Float64Array.from(cells.flatMap((cell) => pick(cell.events)));
    return {
      ap: averagePrecision(values, labels),
      brier: brierScore(values, labels),
      ece: calibrationError(values, labels),
    };
  };
  return {
    restitch: score((rows) => rows.probabilities),
    reactive: score((rows) => rows.reactive),
    baseRate: labels.reduce((sum, v) => sum + v, 0) / labels.length,
    rows: labels.length,
  };
}
