/**
 * Autoregression fitted by recursive least squares with forgetting, one direct model a horizon: the regressors are the
 * last values and slow averages, the target is the change until t + h. Direct and not iterated, because errors of an
 * iterated one-step model add up. Source: Haykin, "Adaptive Filter Theory", chapter 10; Marcellino, Stock & Watson,
 * Journal of Econometrics 135, 2006 (direct against iterated forecasts).
 */
import type { ExpertGroup } from './expert-group.js';

const LAGS = 5;
const SLOW = [0.2, 0.05, 0.01] as const;
const INPUTS = LAGS + SLOW.length;
/** Effective memory of 1 / (1 - f) = 2,000 steps. */
const FORGETTING = 0.9995;
/** Forecasts stay this many times the recent range away from the last value at most; a fit may explode, a load does not. */
const MAX_STEP_RANGES = 3;

/** One expert, `ar`; state per series and horizon: coefficients and their 8 × 8 covariance. */
export class RegressionGroup implements ExpertGroup {
  readonly names: readonly string[] = ['ar'];
  private readonly maxHorizon: number;
  private readonly lags: Float64Array;
  private readonly slow: Float64Array;
  private readonly range: Float64Array;
  private readonly seen: Int32Array;
  /** Regressors and value at each of the last maxHorizon + 1 steps. */
  private readonly past: Float64Array;
  private readonly coefficients: Float64Array;
  private readonly covariance: Float64Array;
  private readonly input = new Float64Array(INPUTS);
  private readonly gain = new Float64Array(INPUTS);

  constructor(
    seriesCount: number,
    private readonly horizons: readonly number[],
  ) {
    this.maxHorizon = Math.max(...horizons);
    this.lags = new Float64Array(seriesCount * (LAGS + 1));
    this.slow = new Float64Array(seriesCount * SLOW.length);
    this.range = new Float64Array(seriesCount);
    this.seen = new Int32Array(seriesCount);
    this.past = new Float64Array(seriesCount * (this.maxHorizon + 1) * (INPUTS + 1));
    this.coefficients = new Float64Array(seriesCount * horizons.length * INPUTS);
    this.covariance = new Float64Array(seriesCount * horizons.length * INPUTS * INPUTS);
  }

  update(series: number, value: number): void {
    const seen = this.seen[series]!;
    const base = series * (LAGS + 1);
    if (seen === 0) this.reset(series, value);
    const previous = this.lags[base]!;
    this.range[series] = this.range[series]! + 0.01 * (Math.abs(value - previous) - this.range[series]!);
    this.lags.copyWithin(base + 1, base, base + LAGS);
    this.lags[base] = value;
    for (let k = 0; k < SLOW.length; k++) {
      const at = series * SLOW.length + k;
      this.slow[at] = this.slow[at]! + SLOW[k]! * (value - this.slow[at]!);
    }
    for (let h = 0; h < this.horizons.length; h++) {
      if (seen - this.horizons[h]! >= LAGS) this.learn(series, h, value, seen);
    }
    this.fillInput(series);
    const slot = this.slot(series, seen);
    this.past.set(this.input, slot);
    this.past[slot + INPUTS] = value;
    this.seen[series] = seen + 1;
  }

  predict(series: number, horizon: number, out: Float64Array, offset: number): void {
    const last = this.lags[series * (LAGS + 1)]!;
    const h = this.horizons.indexOf(horizon);
    this.fillInput(series);
    let change = 0;
    const base = (series * this.horizons.length + h) * INPUTS;
    for (let i = 0; i < INPUTS; i++) change += this.coefficients[base + i]! * this.input[i]!;
    const bound = MAX_STEP_RANGES * this.range[series]! * Math.sqrt(horizon) * 3;
    out[offset] = last + Math.max(-bound, Math.min(bound, change));
  }

  private reset(series: number, value: number): void {
    this.lags.fill(value, series * (LAGS + 1), (series + 1) * (LAGS + 1));
    this.slow.fill(value, series * SLOW.length, (series + 1) * SLOW.length);
    for (let h = 0; h < this.horizons.length; h++) {
      const base = (series * this.horizons.length + h) * INPUTS * INPUTS;
      for (let i = 0; i < INPUTS; i++) this.covariance[base + i * INPUTS + i] = 10;
    }
  }

  /** All regressors are differences in units of the recent range, so one prior fits a load in percent and one in bytes. */
  private fillInput(series: number): void {
    const base = series * (LAGS + 1);
    const last = this.lags[base]!;
    for (let k = 0; k < LAGS; k++) this.input[k] = this.lags[base + k + 1]! - this.lags[base + k]!;
    for (let k = 0; k < SLOW.length; k++) this.input[LAGS + k] = this.slow[series * SLOW.length + k]! - last;
  }

  private slot(series: number, step: number): number {
    return (series * (this.maxHorizon + 1) + (step % (this.maxHorizon + 1))) * (INPUTS + 1);
  }

  private learn(series: number, h: number, value: number, step: number): void {
    const from = this.slot(series, step - this.horizons[h]!);
    const scale = Math.max(this.range[series]!, 1e-12);
    const { past, coefficients, covariance, gain } = this;
    const w = (series * this.horizons.length + h) * INPUTS;
    const p = w * INPUTS;
    let error = (value - past[from + INPUTS]!) / scale;
    let denominator = FORGETTING;
    for (let i = 0; i < INPUTS; i++) {
      let sum = 0;
      for (let j = 0; j < INPUTS; j++) sum += covariance[p + i * INPUTS + j]! * (past[from + j]! / scale);
      gain[i] = sum;
      denominator += sum * (past[from + i]! / scale);
      error -= coefficients[w + i]! * (past[from + i]! / scale);
    }
    // Huber's bound: one spike may not throw the fit over.
    const bounded = Math.max(-10, Math.min(10, error));
    for (let i = 0; i < INPUTS; i++) {
      coefficients[w + i] = coefficients[w + i]! + (gain[i]! / denominator) * bounded;
      for (let j = 0; j < INPUTS; j++) {
        const at = p + i * INPUTS + j;
        const next = (covariance[at]! - (gain[i]! * gain[j]!) / denominator) / FORGETTING;
        covariance[at] = Math.min(next, 1e4);
      }
    }
  }
}
