/**
 * Learns which expert to trust now, from losses that have matured. Two ways, because neither is best everywhere:
 * `HedgeMixture` weighs experts by their own discounted loss (it finds the best one soon), `GradientMixture` learns the best
 * convex combination (it gains where experts err in different directions).
 * Each cell (series × horizon) adds the mean of its peers' evidence, so a new series starts where its peers stand.
 * Sources: Littlestone & Warmuth, "The weighted majority algorithm", 1994; Wintenberger, "Optimal learning with Bernstein
 * online aggregation", Machine Learning 106, 2017 (the gradient rule and its per-expert rates); Herbster & Warmuth, "Tracking
 * the best expert", 1998 (forgetting).
 */

/** Losses in units of the naive error are cut here: one spike is evidence once, not for the whole memory. */
const LOSS_BOUND = 8;
/** How much the mean of the peers counts, in units of an own history. */
const PEER_SHARE = 1;

/** Exponential weights on discounted absolute losses. */
export class HedgeMixture {
  private readonly losses: Float64Array;
  private readonly pooled: Float64Array;
  readonly weights: Float64Array;

  constructor(
    private readonly seriesCount: number,
    private readonly horizonCount: number,
    private readonly expertCount: number,
    private readonly memorySteps: number,
  ) {
    this.losses = new Float64Array(seriesCount * horizonCount * expertCount);
    this.pooled = new Float64Array(horizonCount * expertCount);
    this.weights = new Float64Array(expertCount);
  }

  /** Folds in the matured forecasts `predictions[offset …]` of a cell; `scale` is the cell's usual naive error. */
  learn(
    series: number,
    h: number,
    predictions: Float64Array,
    offset: number,
    actual: number,
    scale: number,
  ): void {
    const base = (series * this.horizonCount + h) * this.expertCount;
    const pool = h * this.expertCount;
    const keep = 1 - 1 / this.memorySteps;
    for (let e = 0; e < this.expertCount; e++) {
      const loss = Math.min(LOSS_BOUND, Math.abs(actual - predictions[offset + e]!) / scale);
      const before = this.losses[base + e]!;
      const next = keep * before + loss;
      this.losses[base + e] = next;
      this.pooled[pool + e] = this.pooled[pool + e]! + (next - before) / this.seriesCount;
    }
  }

  /** Sets `weights` for a cell: proportional to exp(−sharpness × loss), summing to 1. */
  weigh(series: number, h: number, sharpness: number): void {
    const { weights, losses, pooled, expertCount } = this;
    const base = (series * this.horizonCount + h) * expertCount;
    const pool = h * expertCount;
    const share = this.seriesCount > 1 ? PEER_SHARE : 0;
    let least = Number.POSITIVE_INFINITY;
    for (let e = 0; e < expertCount; e++) {
      const loss = losses[base + e]! + share * pooled[pool + e]!;
      weights[e] = loss;
      if (loss < least) least = loss;
    }
    let sum = 0;
    for (let e = 0; e < expertCount; e++) {
      const gap = sharpness * (weights[e]! - least);
      const weight = gap > 30 ? 0 : Math.exp(-gap);
      weights[e] = weight;
      sum += weight;
    }
    for (let e = 0; e < expertCount; e++) weights[e] = weights[e]! / sum;
  }
}

/** Bernstein online aggregation of the combination's subgradient, with forgetting. */
export class GradientMixture {
  private readonly regrets: Float64Array;
  private readonly squares: Float64Array;
  private readonly pooledRegrets: Float64Array;
  private readonly pooledSquares: Float64Array;
  readonly weights: Float64Array;

  constructor(
    private readonly seriesCount: number,
    private readonly horizonCount: number,
    private readonly expertCount: number,
    private readonly memorySteps: number,
  ) {
    this.regrets = new Float64Array(seriesCount * horizonCount * expertCount);
    this.squares = new Float64Array(seriesCount * horizonCount * expertCount);
    this.pooledRegrets = new Float64Array(horizonCount * expertCount);
    this.pooledSquares = new Float64Array(horizonCount * expertCount);
    this.weights = new Float64Array(expertCount);
  }

  /** As in `HedgeMixture`; `combined` is the forecast this mixture issued then. */
  learn(
    series: number,
    h: number,
    predictions: Float64Array,
    offset: number,
    outcome: { readonly actual: number; readonly scale: number; readonly combined: number },
  ): void {
    const { actual, scale, combined } = outcome;
    const base = (series * this.horizonCount + h) * this.expertCount;
    const pool = h * this.expertCount;
    const keep = 1 - 1 / this.memorySteps;
    const direction = combined > actual ? 1 : combined < actual ? -1 : 0;
    for (let e = 0; e < this.expertCount; e++) {
      const at = base + e;
      const raw = (direction * (combined - predictions[offset + e]!)) / scale;
      const regret = Math.max(-LOSS_BOUND, Math.min(LOSS_BOUND, raw));
      const regretBefore = this.regrets[at]!;
      const squareBefore = this.squares[at]!;
      const square = keep * squareBefore + regret * regret;
      const rate = this.rate(square);
      const next = keep * regretBefore + regret - rate * regret * regret;
      this.regrets[at] = next;
      this.squares[at] = square;
      this.pooledRegrets[pool + e] = this.pooledRegrets[pool + e]! + (next - regretBefore) / this.seriesCount;
      this.pooledSquares[pool + e] =
        this.pooledSquares[pool + e]! + (square - squareBefore) / this.seriesCount;
    }
  }

  /** Sets `weights` for a cell; they sum to 1. */
  weigh(series: number, h: number): void {
    const { weights, expertCount } = this;
    const base = (series * this.horizonCount + h) * expertCount;
    const pool = h * expertCount;
    const share = this.seriesCount > 1 ? PEER_SHARE : 0;
    let most = Number.NEGATIVE_INFINITY;
    for (let e = 0; e < expertCount; e++) {
      const square = this.squares[base + e]! + share * this.pooledSquares[pool + e]!;
      const rate = this.rate(square);
      const exponent =
        Math.log(rate) + rate * (this.regrets[base + e]! + share * this.pooledRegrets[pool + e]!);
      weights[e] = exponent;
      if (exponent > most) most = exponent;
    }
    let sum = 0;
    for (let e = 0; e < expertCount; e++) {
      const weight = Math.exp(Math.max(-40, weights[e]! - most));
      weights[e] = weight;
      sum += weight;
    }
    for (let e = 0; e < expertCount; e++) weights[e] = weights[e]! / sum;
  }

  private rate(square: number): number {
    return Math.min(1 / (2 * LOSS_BOUND), Math.sqrt(Math.log(this.expertCount + 1) / (square + 1)));
  }
}

/** Weighted mean of `values[offset …]`. */
export function weightedMean(weights: Float64Array, values: Float64Array, offset: number): number {
  let sum = 0;
  for (let e = 0; e < weights.length; e++) sum += weights[e]! * values[offset + e]!;
  return sum;
}

/** Weighted median of `values[offset …]`; `order` is scratch of the same length. */
export function weightedMedian(
  weights: Float64Array,
  values: Float64Array,
  offset: number,
  order: Int32Array,
): number {
  let count = 0;
  for (let e = 0; e < weights.length; e++) {
    if (weights[e]! < 1e-4) continue;
    const value = values[offset + e]!;
    let at = count++;
    while (at > 0 && values[offset + order[at - 1]!]! > value) {
      order[at] = order[at - 1]!;
      at--;
    }
    order[at] = e;
  }
  let total = 0;
  for (let i = 0; i < count; i++) total += weights[order[i]!]!;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    sum += weights[order[i]!]!;
    if (sum >= total / 2) return values[offset + order[i]!]!;
  }
  return values[offset + order[count - 1]!]!;
}
