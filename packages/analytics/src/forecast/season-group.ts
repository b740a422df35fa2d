/**
 * Seasonal experts: a profile of one period in at most 288 slots, learned as the deviation from the slow level. Two
 * periods: the calendar day when the step is known, and one found in the series by its autocorrelation.
 * A profile and not the value one period ago: the latter carries the noise of one past day into every forecast (on public
 * traces it is far worse than naive), the profile averages it away.
 */
import type { ExpertGroup } from './expert-group.js';

const MAX_SLOTS = 288;
const PROFILE_RATE = 0.3;
const LEVEL_RATES = [0.3, 0.05] as const;
/** Values kept to look for a period; with a period up to a third of it. */
const HISTORY = 1_536;
const MIN_HISTORY = 96;
/** Autocorrelation a period needs before it is believed. */
const MIN_CORRELATION = 0.3;

/** Experts `day-*` (fixed period) and `period-*` (detected); both fall back to their level until a profile has been seen twice. */
export class SeasonGroup implements ExpertGroup {
  readonly names: readonly string[] = [
    ...LEVEL_RATES.map((a) => `day-${a}`),
    ...LEVEL_RATES.map((a) => `period-${a}`),
  ];
  private readonly profiles: [SeasonProfile, SeasonProfile];
  private readonly history: Float32Array;
  private readonly seen: Int32Array;
  private readonly levels: Float64Array;

  /** `daySteps`: steps in a day, 0 when unknown. */
  constructor(seriesCount: number, daySteps: number) {
    this.profiles = [new SeasonProfile(seriesCount), new SeasonProfile(seriesCount)];
    this.history = new Float32Array(seriesCount * HISTORY);
    this.seen = new Int32Array(seriesCount);
    this.levels = new Float64Array(seriesCount * LEVEL_RATES.length * 3);
    if (daySteps >= 4) for (let s = 0; s < seriesCount; s++) this.profiles[0].setPeriod(s, daySteps);
  }

  update(series: number, value: number): void {
    const seen = this.seen[series]!;
    this.history[series * HISTORY + (seen % HISTORY)] = value;
    const stride = LEVEL_RATES.length * 3;
    // The last three levels are of the plain series (for the profile's deviation), the others of the series less profile.
    const plain = series * stride + 2 * LEVEL_RATES.length;
    this.levels[plain] = seen === 0 ? value : this.levels[plain]! + 0.02 * (value - this.levels[plain]!);
    for (let p = 0; p < 2; p++) {
      const profile = this.profiles[p]!;
      const rest = value - profile.at(series, seen);
      for (let k = 0; k < LEVEL_RATES.length; k++) {
        const at = series * stride + p * LEVEL_RATES.length + k;
        const level = this.levels[at]!;
        this.levels[at] = seen === 0 ? rest : level + LEVEL_RATES[k]! * (rest - level);
      }
      profile.update(series, seen, value);
    }
    this.seen[series] = seen + 1;
    if (seen + 1 >= MIN_HISTORY && isDetectionStep(seen + 1)) this.detect(series);
  }

  predict(series: number, horizon: number, out: Float64Array, offset: number): void {
    const step = this.seen[series]! - 1 + horizon;
    const stride = LEVEL_RATES.length * 3;
    let write = offset;
    for (let p = 0; p < 2; p++) {
      const seasonal = this.profiles[p]!.at(series, step);
      for (let k = 0; k < LEVEL_RATES.length; k++) {
        out[write++] = seasonal + this.levels[series * stride + p * LEVEL_RATES.length + k]!;
      }
    }
  }

  private detect(series: number): void {
    const seen = this.seen[series]!;
    const count = Math.min(seen, HISTORY);
    const values = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      values[i] = this.history[series * HISTORY + ((seen - count + i) % HISTORY)]!;
    }
    const period = findPeriod(values);
    if (period !== this.profiles[1].period(series)) this.profiles[1].setPeriod(series, period);
  }
}

/** Looks at 96, 144, 216, … values: often while young, then ever more rarely, so that the cost a step falls to nothing. */
function isDetectionStep(seen: number): boolean {
  let at = MIN_HISTORY;
  while (at < seen) at = Math.floor(at * 1.5);
  return at === seen;
}

/**
 * The lag of the highest autocorrelation peak of the differenced-and-smoothed series, 0 when no peak is high enough.
 * Looks at lags from 6 to a third of the values.
 */
export function findPeriod(values: Float64Array): number {
  const smooth = centred(values);
  const maxLag = Math.floor(smooth.length / 3);
  let energy = 0;
  for (const v of smooth) energy += v * v;
  if (!(energy > 0)) return 0;
  const correlation = new Float64Array(maxLag + 1);
  for (let lag = 1; lag <= maxLag; lag++) {
    let sum = 0;
    for (let i = lag; i < smooth.length; i++) sum += smooth[i]! * smooth[i - lag]!;
    correlation[lag] = (sum / energy) * (smooth.length / (smooth.length - lag));
  }
  // The first trough separates the slope at short lags from real peaks.
  let lag = 1;
  while (lag < maxLag && correlation[lag]! > 0) lag++;
  let best = 0;
  for (; lag < maxLag; lag++) {
    const c = correlation[lag]!;
    if (lag < 6 || c < MIN_CORRELATION || c < correlation[lag - 1]! || c < correlation[lag + 1]!) continue;
    if (best === 0 || c > correlation[best]! + 0.05) best = lag;
  }
  return best;
}

/** Values less a straight line. */
function centred(values: Float64Array): Float64Array {
  const n = values.length;
  let mean = 0;
  for (const v of values) mean += v / n;
  let slope = 0;
  for (let i = 0; i < n; i++) slope += ((i - (n - 1) / 2) * (values[i]! - mean) * 12) / (n * (n * n - 1));
  return values.map((v, i) => v - mean - slope * (i - (n - 1) / 2));
}

/** Per series: a profile in slots, and the level it is measured against. */
class SeasonProfile {
  private readonly periods: Float64Array;
  private readonly slots: Float32Array;
  private readonly counts: Uint8Array;
  private readonly levels: Float64Array;

  constructor(seriesCount: number) {
    this.periods = new Float64Array(seriesCount);
    this.slots = new Float32Array(seriesCount * MAX_SLOTS);
    this.counts = new Uint8Array(seriesCount * MAX_SLOTS);
    this.levels = new Float64Array(seriesCount).fill(Number.NaN);
  }

  period(series: number): number {
    return this.periods[series]!;
  }

  setPeriod(series: number, steps: number): void {
    this.periods[series] = steps;
    this.slots.fill(0, series * MAX_SLOTS, (series + 1) * MAX_SLOTS);
    this.counts.fill(0, series * MAX_SLOTS, (series + 1) * MAX_SLOTS);
  }

  /** Deviation from the level at `step`, interpolated between slots; 0 until each slot was seen. */
  at(series: number, step: number): number {
    const period = this.periods[series]!;
    if (period === 0) return 0;
    const slotCount = Math.min(period, MAX_SLOTS);
    const place = ((step % period) / period) * slotCount;
    const low = Math.floor(place) % slotCount;
    const high = (low + 1) % slotCount;
    const base = series * MAX_SLOTS;
    if (this.counts[base + low] === 0 || this.counts[base + high] === 0) return 0;
    const part = place - Math.floor(place);
    return this.slots[base + low]! * (1 - part) + this.slots[base + high]! * part;
  }

  update(series: number, step: number, value: number): void {
    const level = this.levels[series]!;
    const period = this.periods[series]!;
    // The level follows over about half a period, so that it does not swallow the season.
    const rate = period > 0 ? Math.min(0.1, 2 / period) : 0.02;
    this.levels[series] = Number.isNaN(level) ? value : level + rate * (value - level);
    if (period === 0) return;
    const slotCount = Math.min(period, MAX_SLOTS);
    const slot = Math.floor(((step % period) / period) * slotCount) % slotCount;
    const at = series * MAX_SLOTS + slot;
    const count = this.counts[at]!;
    const perVisit = Math.max(1, period / slotCount);
    const slotRate = Math.max(1 / (count + 1), PROFILE_RATE / perVisit);
    this.slots[at] = this.slots[at]! + slotRate * (value - this.levels[series]! - this.slots[at]!);
    if (count < 255) this.counts[at] = count + 1;
  }
}
