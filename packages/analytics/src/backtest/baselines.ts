/**
 * What every forecast must beat, by the same protocol: the last value, exponential smoothing fitted per horizon, ETS refitted
 * every 60 steps, and the value one season ago. All learn from the first half or from what lies before the origin.
 */
import { findPeriod } from '../forecast/season-group.js';
import { fitEts, type EtsState, forecastEts, updateEts } from './ets-filter.js';
import { firstOrigin, type PanelData } from './panel-data.js';

/** Steps between two fits of ETS, and values each fit looks at. */
const ETS_REFIT_STEPS = 60;
const ETS_FIT_VALUES = 240;
const SMOOTHING_GRID = [
  0.02, 0.04, 0.06, 0.09, 0.13, 0.18, 0.25, 0.33, 0.42, 0.52, 0.63, 0.75, 0.88, 1,
] as const;
const SECONDS_PER_DAY = 86_400;

/** Names in the order of the report. */
export const BASELINES = ['naive', 'ses', 'ets', 'seasonal'] as const;
/** One of them. */
export type BaselineName = (typeof BASELINES)[number];

/** Point forecasts of one series: `byHorizon[h][row]` for rows from the first origin on, NaN elsewhere. */
export type PointForecasts = readonly Float64Array[];

/** Runs one baseline over series `s` of `data`. */
export function runBaseline(
  name: BaselineName,
  data: PanelData,
  s: number,
  horizons: readonly number[],
): PointForecasts {
  const values = data.values[s]!;
  const from = firstOrigin(values);
  if (name === 'naive') return horizons.map(() => maskBefore(values, from));
  if (name === 'ses') return horizons.map((h) => smoothed(values, from, h));
  if (name === 'ets') return runEts(values, from, horizons);
  return runSeasonal(data, values, from, horizons);
}

function maskBefore(values: Float64Array, from: number): Float64Array {
  return values.map((v, i) => (i < from ? Number.NaN : v));
}

function smooth(values: Float64Array, alpha: number): Float64Array {
  const out = new Float64Array(values.length);
  let level = Number.NaN;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (Number.isFinite(value)) level = Number.isNaN(level) ? value : level + alpha * (value - level);
    out[i] = level;
  }
  return out;
}

/** The smoothing constant with the least absolute error at this horizon in the first half. */
function smoothed(values: Float64Array, from: number, horizon: number): Float64Array {
  let best = smooth(values, 1);
  let least = Number.POSITIVE_INFINITY;
  for (const alpha of SMOOTHING_GRID) {
    const levels = smooth(values, alpha);
    let sum = 0;
    for (let i = 0; i + horizon < from; i++) {
      const error = Math.abs(values[i + horizon]! - levels[i]!);
      if (Number.isFinite(error)) sum += error;
    }
    if (sum < least) {
      least = sum;
      best = levels;
    }
  }
  return maskBefore(best, from);
}

function runEts(values: Float64Array, from: number, horizons: readonly number[]): PointForecasts {
  const out = horizons.map(() => new Float64Array(values.length).fill(Number.NaN));
  let state: EtsState | undefined;
  let age = 0;
  const recent: number[] = [];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) continue;
    recent.push(value);
    if (recent.length > ETS_FIT_VALUES) recent.shift();
    if (state !== undefined) updateEts(state, value);
    if (i < from) continue;
    if (state === undefined || ++age >= ETS_REFIT_STEPS) {
      state = fitEts(Float64Array.from(recent));
      age = 0;
    }
    for (let h = 0; h < horizons.length; h++) out[h]![i] = forecastEts(state, horizons[h]!);
  }
  return out;
}

/** The value one season before the target: a day when two are known, else the period found in the first half, else the last value. */
function runSeasonal(
  data: PanelData,
  values: Float64Array,
  from: number,
  horizons: readonly number[],
): PointForecasts {
  const daySteps = data.calendar ? Math.round(SECONDS_PER_DAY / data.stepS) : 0;
  const known = values.subarray(Math.max(0, from - 2_000), from).filter((v) => Number.isFinite(v));
  const period = daySteps > 1 && from >= daySteps ? daySteps : findPeriod(known);
  return horizons.map((h) => {
    const out = new Float64Array(values.length).fill(Number.NaN);
    for (let i = from; i < values.length; i++) {
      if (!Number.isFinite(values[i]!)) continue;
      const back = period === 0 ? 0 : Math.ceil(h / period) * period - h;
      const past = values[i - back];
      out[i] = past !== undefined && Number.isFinite(past) ? past : values[i]!;
    }
    return out;
  });
}
