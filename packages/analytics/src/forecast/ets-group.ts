/**
 * Automatic ETS as an expert, behind an interface: the library comes as WebAssembly, whose bytes the owner loads, since this
 * package touches no files. A fit costs 10 to 60 ms and cannot be updated, so each series is refitted rarely, within a budget
 * of fits a step; in between its path is shifted by a smoothed offset to what came since.
 */
import type { ExpertGroup } from './expert-group.js';

/** Fits one model and forecasts from the end of `values`; throws when it cannot. */
export interface EtsFitter {
  forecast(values: Float64Array, steps: number): Float64Array;
}

/** Values a fit looks at, and the fewest it needs. */
const FIT_VALUES = 200;
const MIN_VALUES = 20;
/** Share of the newest error that moves the path between fits. */
const OFFSET_RATE = 0.5;

/** One expert, `ets`; falls back to the last value until the first fit. */
export class EtsGroup implements ExpertGroup {
  readonly names: readonly string[] = ['ets'];
  private readonly ring: Float64Array;
  private readonly seen: Int32Array;
  private readonly fittedAt: Int32Array;
  private readonly paths: Float64Array;
  private readonly offsets: Float64Array;
  private readonly pathLength: number;

  /** `refitSteps`: steps between two fits of a series; fits of different series fall on different steps. */
  constructor(
    seriesCount: number,
    private readonly fitter: EtsFitter,
    maxHorizon: number,
    private readonly refitSteps = 60,
  ) {
    this.pathLength = refitSteps + maxHorizon;
    this.ring = new Float64Array(seriesCount * FIT_VALUES);
    this.seen = new Int32Array(seriesCount);
    this.fittedAt = new Int32Array(seriesCount).fill(-1);
    this.paths = new Float64Array(seriesCount * this.pathLength);
    this.offsets = new Float64Array(seriesCount);
  }

  update(series: number, value: number): void {
    const seen = this.seen[series]!;
    this.ring[series * FIT_VALUES + (seen % FIT_VALUES)] = value;
    this.seen[series] = seen + 1;
    const fittedAt = this.fittedAt[series]!;
    if (fittedAt >= 0 && seen - fittedAt < this.refitSteps) {
      const expected = this.paths[series * this.pathLength + seen - fittedAt]! + this.offsets[series]!;
      this.offsets[series] = this.offsets[series]! + OFFSET_RATE * (value - expected);
    }
    if (seen + 1 >= MIN_VALUES && (seen + series) % this.refitSteps === 0) this.fit(series);
  }

  predict(series: number, horizon: number, out: Float64Array, offset: number): void {
    const seen = this.seen[series]!;
    const at = seen - this.fittedAt[series]! + horizon - 1;
    out[offset] =
      this.fittedAt[series]! < 0 || at >= this.pathLength
        ? this.ring[series * FIT_VALUES + ((seen - 1) % FIT_VALUES)]!
        : this.paths[series * this.pathLength + at]! + this.offsets[series]!;
  }

  private fit(series: number): void {
    const seen = this.seen[series]!;
    const count = Math.min(seen, FIT_VALUES);
    const values = Float64Array.from(
      { length: count },
      (_, i) => this.ring[series * FIT_VALUES + ((seen - count + i) % FIT_VALUES)]!,
    );
    let path: Float64Array;
    try {
      path = this.fitter.forecast(values, this.pathLength);
    } catch {
      // A constant series has no model; the old path, or the last value, stands.
      return;
    }
    if (!path.every((v) => Number.isFinite(v))) return;
    this.paths.set(path.subarray(0, this.pathLength), series * this.pathLength);
    this.fittedAt[series] = seen;
    this.offsets[series] = 0;
  }
}
