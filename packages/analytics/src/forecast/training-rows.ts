/**
 * What the boosted trees learn from: one row of features per kept (series, step), completed when its future has come.
 * A row's target stays NaN until then, so a fit cannot see the future whatever its caller does.
 */
import type { Random } from '../seeded-random.js';

/** Sizes of the store. */
export interface TrainingRowsOptions {
  readonly featureCount: number;
  readonly horizonCount: number;
  /** Most rows kept. */
  readonly capacity: number;
  readonly random: Random;
}

/** Rows in order of time; the oldest leave first, or every second one while the span is still short. */
export class TrainingRows {
  readonly features: Float32Array;
  /** Change until t + h in units of the row's scale; NaN until matured. Index row × horizons + h. */
  readonly changes: Float64Array;
  /** Highest value in (t, t + h]; NaN until matured. */
  readonly peaks: Float64Array;
  /** Value, scale, series and step of each row. */
  readonly values: Float64Array;
  readonly scales: Float64Array;
  readonly series: Int32Array;
  readonly steps: Int32Array;
  count = 0;
  /** Rows ever added, for refit schedules. */
  added = 0;
  private keepRatio = 1;
  private readonly cursors: Int32Array;

  constructor(private readonly options: TrainingRowsOptions) {
    const { capacity, featureCount, horizonCount } = options;
    this.features = new Float32Array(capacity * featureCount);
    this.changes = new Float64Array(capacity * horizonCount).fill(Number.NaN);
    this.peaks = new Float64Array(capacity * horizonCount).fill(Number.NaN);
    this.values = new Float64Array(capacity);
    this.scales = new Float64Array(capacity);
    this.series = new Int32Array(capacity);
    this.steps = new Int32Array(capacity);
    this.cursors = new Int32Array(horizonCount);
  }

  /** Whether the caller should add the row it could add now (rows are sampled when a panel has many series). */
  wants(): boolean {
    return this.keepRatio >= 1 || this.options.random() < this.keepRatio;
  }

  /** Appends a row with `features[offset …]`. */
  add(
    row: { readonly series: number; readonly step: number; readonly value: number; readonly scale: number },
    features: Float32Array,
    offset: number,
  ): void {
    if (this.count === this.options.capacity) this.makeRoom();
    const { featureCount, horizonCount } = this.options;
    const at = this.count++;
    this.added++;
    for (let f = 0; f < featureCount; f++) this.features[at * featureCount + f] = features[offset + f]!;
    this.values[at] = row.value;
    this.scales[at] = row.scale;
    this.series[at] = row.series;
    this.steps[at] = row.step;
    this.changes.fill(Number.NaN, at * horizonCount, (at + 1) * horizonCount);
    this.peaks.fill(Number.NaN, at * horizonCount, (at + 1) * horizonCount);
  }

  /**
   * Completes the rows issued at `step − horizon`: `actual(series)` is the value at `step`, NaN when it must not count
   * (missing, or across a gap); `peak(series)` the highest value since.
   */
  mature(
    h: number,
    issuedStep: number,
    actual: (series: number) => number,
    peak: (series: number) => number,
  ): void {
    const { horizonCount } = this.options;
    let at = this.cursors[h]!;
    while (at < this.count && this.steps[at]! <= issuedStep) {
      if (this.steps[at] === issuedStep) {
        const series = this.series[at]!;
        this.changes[at * horizonCount + h] = (actual(series) - this.values[at]!) / this.scales[at]!;
        this.peaks[at * horizonCount + h] = peak(series);
      }
      at++;
    }
    this.cursors[h] = at;
  }

  private makeRoom(): void {
    const { capacity, random } = this.options;
    const span = this.steps[this.count - 1]! - this.steps[0]!;
    // A panel of many series fills the store within few steps: thin it until it spans as many steps as one series would.
    const thin = span * 4 < capacity;
    if (thin) this.keepRatio /= 2;
    const drop = Math.floor(this.count / 4);
    let write = 0;
    const before = Int32Array.from(this.cursors);
    for (let at = 0; at < this.count; at++) {
      const kept = thin ? random() < 0.5 : at >= drop;
      if (!kept) {
        for (let h = 0; h < before.length; h++) if (at < before[h]!) this.cursors[h] = this.cursors[h]! - 1;
        continue;
      }
      if (write !== at) this.moveRow(at, write);
      write++;
    }
    this.count = write;
  }

  private moveRow(from: number, to: number): void {
    const { featureCount, horizonCount } = this.options;
    this.features.copyWithin(to * featureCount, from * featureCount, (from + 1) * featureCount);
    this.changes.copyWithin(to * horizonCount, from * horizonCount, (from + 1) * horizonCount);
    this.peaks.copyWithin(to * horizonCount, from * horizonCount, (from + 1) * horizonCount);
    this.values[to] = this.values[from]!;
    this.scales[to] = this.scales[from]!;
    this.series[to] = this.series[from]!;
    this.steps[to] = this.steps[from]!;
  }
}
