/**
 * The input vector of the boosted trees. Everything about the series itself is a difference to its present value in units
 * of its usual step, so that one model serves all series of a panel and survives a change of level.
 */

/** Lags of the series that enter as differences. */
const LAGS = [1, 2, 3, 4, 5, 6, 8, 10, 14, 20, 30, 45, 60] as const;
/** Windows whose highest and lowest value enter. */
const RANGES = [5, 15, 60] as const;
/** Values kept a series at least; more when a horizon is longer. */
const MIN_RING = 64;
const AUX_RATES = [0.3, 0.03] as const;
const MOVE_RATES = [0.2, 0.03] as const;
const SECONDS_PER_DAY = 86_400;

/** What the frame needs to know about a panel. */
export interface FrameOptions {
  readonly seriesCount: number;
  readonly auxCount: number;
  readonly horizonCount: number;
  /** Longest horizon in steps. */
  readonly maxHorizon: number;
  /** Names of the experts whose forecasts for the first horizon enter. */
  readonly expertNames: readonly string[];
  /** Positions (expert × horizon index) that enter for the other horizons too. */
  readonly varying: readonly number[];
  /** Whether times are calendar times. */
  readonly hasClock: boolean;
}

/** Rolling state behind the features, and the features of the present step. */
export class FeatureFrame {
  readonly names: readonly string[];
  readonly featureCount: number;
  private readonly ringSize: number;
  private readonly ring: Float64Array;
  private readonly seen: Int32Array;
  private readonly scales: Float64Array;
  private readonly levels: Float64Array;
  private readonly moves: Float64Array;
  private readonly auxAverages: Float32Array;

  constructor(private readonly options: FrameOptions) {
    const { seriesCount, auxCount, expertNames, varying, horizonCount } = options;
    this.ringSize = Math.max(MIN_RING, options.maxHorizon + 1);
    this.ring = new Float64Array(seriesCount * this.ringSize);
    this.seen = new Int32Array(seriesCount);
    this.scales = new Float64Array(seriesCount);
    this.levels = new Float64Array(seriesCount);
    this.moves = new Float64Array(seriesCount * MOVE_RATES.length);
    this.auxAverages = new Float32Array(seriesCount * auxCount * AUX_RATES.length).fill(Number.NaN);
    const names = ['value', 'level', ...LAGS.map((k) => `lag-${k}`)];
    for (const w of RANGES) names.push(`above-${w}`, `below-${w}`);
    for (const r of MOVE_RATES) names.push(`move-${r}`);
    for (const e of expertNames) if (e !== 'naive') names.push(e);
    for (let h = 1; h < horizonCount; h++) for (const e of varying) names.push(`${expertNames[e]}@${h}`);
    for (let h = 0; h < horizonCount; h++) names.push(`mix@${h}`);
    if (options.hasClock) names.push('hour', 'weekday');
    for (let a = 0; a < auxCount; a++) {
      names.push(`aux${a}`, ...AUX_RATES.map((r) => `aux${a}-${r}`));
    }
    this.names = names;
    this.featureCount = names.length;
  }

  /** Usual step of the series (mean absolute one-step change), never 0. */
  scale(series: number): number {
    return Math.max(this.scales[series]!, 1e-9 * (1 + Math.abs(this.levels[series]!)));
  }

  /** Value `k` steps back, or the oldest known. */
  back(series: number, k: number): number {
    const last = this.seen[series]! - 1;
    return this.ring[series * this.ringSize + (Math.max(0, last - k) % this.ringSize)]!;
  }

  /** Highest of the last `count` values (at most the longest horizon, or 64). */
  highest(series: number, count: number): number {
    let high = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < count; k++) high = Math.max(high, this.back(series, k));
    return high;
  }

  /** Folds in the present value and the other metrics of the same endpoint (`aux[offset …]`, may hold NaN). */
  update(series: number, value: number, aux: Float32Array | undefined): void {
    const n = this.seen[series]!;
    const step = n === 0 ? 0 : Math.abs(value - this.back(series, 0));
    this.ring[series * this.ringSize + (n % this.ringSize)] = value;
    this.seen[series] = n + 1;
    if (n > 0) {
      this.scales[series] = this.scales[series]! + Math.max(0.002, 1 / n) * (step - this.scales[series]!);
    }
    this.levels[series] =
      this.levels[series]! + Math.max(0.002, 1 / (n + 1)) * (value - this.levels[series]!);
    for (let k = 0; k < MOVE_RATES.length; k++) {
      const at = series * MOVE_RATES.length + k;
      this.moves[at] = this.moves[at]! + MOVE_RATES[k]! * (step - this.moves[at]!);
    }
    const { auxCount } = this.options;
    if (aux === undefined) return;
    for (let a = 0; a < auxCount; a++) {
      const present = aux[series * auxCount + a]!;
      if (present !== present) continue;
      for (let k = 0; k < AUX_RATES.length; k++) {
        const at = (series * auxCount + a) * AUX_RATES.length + k;
        const average = this.auxAverages[at]!;
        this.auxAverages[at] = average === average ? average + AUX_RATES[k]! * (present - average) : present;
      }
    }
  }

  /**
   * Writes the present features of `series` to `out`. `experts` holds the forecasts, `expertCount` a horizon; `mixes` one
   * combined forecast a horizon.
   */
  fill(
    series: number,
    timeS: number,
    aux: Float32Array | undefined,
    forecasts: { readonly experts: Float64Array; readonly mixes: Float64Array },
    out: Float32Array,
  ): void {
    const { options } = this;
    const value = this.back(series, 0);
    const scale = this.scale(series);
    let at = 0;
    out[at++] = options.seriesCount === 1 ? value : (value - this.levels[series]!) / scale;
    out[at++] =
      options.seriesCount === 1 ? (value - this.levels[series]!) / scale : this.levels[series]! / scale;
    for (const k of LAGS) out[at++] = (this.back(series, k) - value) / scale;
    at = this.fillRanges(series, value, scale, out, at);
    for (let k = 0; k < MOVE_RATES.length; k++)
      out[at++] = this.moves[series * MOVE_RATES.length + k]! / scale;
    const expertCount = options.expertNames.length;
    for (let e = 1; e < expertCount; e++) out[at++] = (forecasts.experts[e]! - value) / scale;
    for (let h = 1; h < options.horizonCount; h++) {
      for (const e of options.varying) out[at++] = (forecasts.experts[h * expertCount + e]! - value) / scale;
    }
    for (let h = 0; h < options.horizonCount; h++) out[at++] = (forecasts.mixes[h]! - value) / scale;
    if (options.hasClock) {
      out[at++] = (timeS / SECONDS_PER_DAY) % 1;
      out[at++] = Math.floor(timeS / SECONDS_PER_DAY) % 7;
    }
    this.fillAux(series, aux, out, at);
  }

  private fillRanges(series: number, value: number, scale: number, out: Float32Array, from: number): number {
    let at = from;
    let high = value;
    let low = value;
    let k = 0;
    for (const width of RANGES) {
      for (; k < width; k++) {
        const past = this.back(series, k);
        if (past > high) high = past;
        if (past < low) low = past;
      }
      out[at++] = (high - value) / scale;
      out[at++] = (low - value) / scale;
    }
    return at;
  }

  private fillAux(series: number, aux: Float32Array | undefined, out: Float32Array, from: number): void {
    const { auxCount } = this.options;
    let at = from;
    for (let a = 0; a < auxCount; a++) {
      const present = aux === undefined ? Number.NaN : aux[series * auxCount + a]!;
      out[at++] = present;
      for (let k = 0; k < AUX_RATES.length; k++) {
        out[at++] = present - this.auxAverages[(series * auxCount + a) * AUX_RATES.length + k]!;
      }
    }
  }
}
