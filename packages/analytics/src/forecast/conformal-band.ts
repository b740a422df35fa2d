/**
 * Quantiles around a point forecast that keep their promise whatever the model: each quantile of the residual, in units
 * of the residual's recent size, is tracked online and nudged whenever it was crossed too often or too rarely.
 * Sources: Gibbs & Candès, "Adaptive conformal inference under distribution shift", NeurIPS 2021; Angelopoulos, Candès &
 * Tibshirani, "Conformal PID control for time series prediction", NeurIPS 2023 (quantile tracking).
 */

/** Step of the tracker in units of the residual size: coverage settles within about 1 / rate outcomes. */
const TRACK_RATE = 0.03;
/** Memory of the residual's size, fast and slow; their mean reacts to bursts and remembers calm. */
const SIZE_RATES = [0.1, 0.01] as const;
/** Start of the normalised quantiles: those of a Laplace distribution with mean absolute deviation 1. */
const startQuantile = (ratio: number): number =>
  ratio < 0.5 ? Math.log(2 * ratio) : -Math.log(2 * (1 - ratio));

/** Per cell (series × horizon): residual sizes and one tracked quantile a ratio, on top of one that all series share. */
export class ConformalBand {
  private readonly shared: Float64Array;
  private readonly sizes: Float64Array;
  private readonly tracked: Float64Array;
  private readonly seen: Int32Array;

  constructor(
    private readonly seriesCount: number,
    private readonly horizonCount: number,
    readonly ratios: readonly number[],
  ) {
    const cells = seriesCount * horizonCount;
    this.shared = new Float64Array(horizonCount * ratios.length);
    this.sizes = new Float64Array(cells * SIZE_RATES.length);
    this.seen = new Int32Array(cells);
    this.tracked = new Float64Array(cells * ratios.length);
    for (let c = 0; c < cells; c++) this.tracked.set(ratios.map(startQuantile), c * ratios.length);
  }

  /** Folds in a matured forecast: `residual` = actual − point, `size` the residual size used when it was issued. */
  learn(cell: number, residual: number, size: number): void {
    const n = this.seen[cell]!;
    this.seen[cell] = n + 1;
    const magnitude = Math.abs(residual);
    for (let k = 0; k < SIZE_RATES.length; k++) {
      const at = cell * SIZE_RATES.length + k;
      const rate = Math.max(SIZE_RATES[k]!, 1 / (n + 1));
      this.sizes[at] = this.sizes[at]! + rate * (magnitude - this.sizes[at]!);
    }
    if (!(size > 0)) return;
    const normalised = residual / size;
    const rate = Math.max(TRACK_RATE, 0.4 / Math.sqrt(n + 1));
    const sharedRate = this.seriesCount > 1 ? TRACK_RATE / Math.sqrt(this.seriesCount) : 0;
    const pool = (cell % this.horizonCount) * this.ratios.length;
    for (let q = 0; q < this.ratios.length; q++) {
      const at = cell * this.ratios.length + q;
      const ratio = this.ratios[q]!;
      const push = normalised < this.tracked[at]! + this.shared[pool + q]! ? ratio - 1 : ratio;
      this.tracked[at] = this.tracked[at]! + rate * push;
      this.shared[pool + q] = this.shared[pool + q]! + sharedRate * push;
    }
  }

  /** Recent size of the cell's residual (mean absolute), 0 before the first. */
  size(cell: number): number {
    const at = cell * SIZE_RATES.length;
    return (this.sizes[at]! + this.sizes[at + 1]!) / 2;
  }

  /** Number of matured forecasts of the cell. */
  count(cell: number): number {
    return this.seen[cell]!;
  }

  /** Offset of quantile `q` from the point for a residual of the given size. */
  offset(cell: number, q: number, size: number): number {
    const pool = (cell % this.horizonCount) * this.ratios.length;
    return (this.tracked[cell * this.ratios.length + q]! + this.shared[pool + q]!) * size;
  }
}
