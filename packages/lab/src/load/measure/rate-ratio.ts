/** Compares two rates of rare events, with the uncertainty that few events bring. */

/** Events counted over a time of exposure. */
export interface EventCount {
  readonly events: number;
  /** For example session-seconds. */
  readonly exposure: number;
}

/** The ratio of two Poisson rates with a one-sided bound. */
export interface RateRatio {
  readonly ratio: number;
  /** With 95 % confidence the true ratio is not above this. */
  readonly upper95: number;
}

/**
 * Ratio of the rates of `a` to `b` and its upper 95 % bound, exact for Poisson counts: given the sum, `a` is binomial
 * (Przyborowski and Wilenski 1940), and its bound is Clopper and Pearson's. Infinity where `b` has no event.
 */
export function compareRates(a: EventCount, b: EventCount): RateRatio {
  const scale = b.exposure / a.exposure;
  const ratio = a.events === 0 && b.events === 0 ? 1 : (a.events / b.events) * scale;
  const n = a.events + b.events;
  if (n === 0 || b.events === 0) return { ratio, upper95: Number.POSITIVE_INFINITY };
  let low = a.events / n;
  let high = 1;
  for (let i = 0; i < 60; i++) {
    const p = (low + high) / 2;
    if (binomialCdf(a.events, n, p) > 0.05) low = p;
    else high = p;
  }
  return { ratio, upper95: (high / (1 - high)) * scale };
}

/** Largest mean that `events` does not refute at 95 %, one-sided and exact: 3.0 for none. */
export function poissonUpper95(events: number): number {
  let low = events;
  let high = 2 * events + 10;
  for (let i = 0; i < 60; i++) {
    const mean = (low + high) / 2;
    if (poissonCdf(events, mean) > 0.05) low = mean;
    else high = mean;
  }
  return high;
}

/** P(X ≤ k) for a Poisson count. */
function poissonCdf(k: number, mean: number): number {
  let logTerm = -mean;
  let sum = Math.exp(logTerm);
  for (let i = 1; i <= k; i++) {
    logTerm += Math.log(mean) - Math.log(i);
    sum += Math.exp(logTerm);
  }
  return sum;
}

/** P(X ≤ k) for a binomial with n trials, in logarithms: n may be thousands. */
function binomialCdf(k: number, n: number, p: number): number {
  let logTerm = n * Math.log1p(-p);
  let sum = Math.exp(logTerm);
  for (let i = 1; i <= k; i++) {
    logTerm += Math.log((n - i + 1) / i) + Math.log(p) - Math.log1p(-p);
    sum += Math.exp(logTerm);
  }
  return sum;
}
