/**
 * ETS with additive errors as a filter: ETS(A,N,N) and ETS(A,Ad,N), parameters by a grid and coordinate search on the sum of
 * squared one-step errors, the model by AIC, then updated with each value until the next fit.
 * The library behind the ETS expert (@bsull/augurs) fits and predicts but cannot be updated, so as a baseline it would
 * forecast from stale states between fits and be easy to beat; this one is harder.
 * Source: Hyndman, Koehler, Ord & Snyder, "Forecasting with Exponential Smoothing", 2008, chapters 2, 3 and 5.
 */

/** Parameters and present state. */
export interface EtsState {
  readonly alpha: number;
  readonly beta: number;
  readonly damping: number;
  level: number;
  slope: number;
}

const ALPHAS = [0.05, 0.15, 0.3, 0.5, 0.7, 0.9, 0.999] as const;
const BETA_SHARES = [0.02, 0.1, 0.3] as const;
const DAMPINGS = [0.8, 0.9, 0.98] as const;

/** Folds one value in. */
export function updateEts(state: EtsState, value: number): void {
  const error = value - state.level - state.damping * state.slope;
  state.level += state.damping * state.slope + state.alpha * error;
  state.slope = state.damping * state.slope + state.beta * error;
}

/** Forecast `horizon` steps ahead. */
export function forecastEts(state: EtsState, horizon: number): number {
  const { damping } = state;
  const steps = damping < 1 ? (damping * (1 - damping ** horizon)) / (1 - damping) : horizon;
  return state.level + steps * state.slope;
}

/** Fits both models and returns the one with the lower AIC, its state at the last value. */
export function fitEts(values: Float64Array): EtsState {
  let plain = { sse: Number.POSITIVE_INFINITY, alpha: 0.5, beta: 0, damping: 0 };
  for (const alpha of ALPHAS) plain = better(plain, values, alpha, 0, 0);
  for (const step of [0.08, 0.04, 0.02]) {
    for (const d of [-step, step]) plain = better(plain, values, plain.alpha + d, 0, 0);
  }
  let trend = { sse: Number.POSITIVE_INFINITY, alpha: 0.5, beta: 0, damping: 0.9 };
  for (const alpha of ALPHAS) {
    for (const share of BETA_SHARES) {
      for (const damping of DAMPINGS) trend = better(trend, values, alpha, alpha * share, damping);
    }
  }
  const n = values.length;
  const aic = (sse: number, parameters: number) => n * Math.log(Math.max(sse, 1e-300) / n) + 2 * parameters;
  const chosen = aic(trend.sse, 6) < aic(plain.sse, 3) ? trend : plain;
  const state: EtsState = {
    alpha: chosen.alpha,
    beta: chosen.beta,
    damping: chosen.damping,
    level: values[0] ?? 0,
    slope: 0,
  };
  for (let i = 1; i < n; i++) updateEts(state, values[i]!);
  return state;
}

interface Candidate {
  readonly sse: number;
  readonly alpha: number;
  readonly beta: number;
  readonly damping: number;
}

function better(
  best: Candidate,
  values: Float64Array,
  alpha: number,
  beta: number,
  damping: number,
): Candidate {
  if (alpha <= 0 || alpha > 1) return best;
  const state: EtsState = { alpha, beta, damping, level: values[0] ?? 0, slope: 0 };
  let sse = 0;
  for (let i = 1; i < values.length; i++) {
    sse += (values[i]! - state.level - damping * state.slope) ** 2;
    updateEts(state, values[i]!);
  }
  return sse < best.sse ? { sse, alpha, beta, damping } : best;
}
