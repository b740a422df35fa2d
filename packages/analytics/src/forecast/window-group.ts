/**
 * Rolling medians, means and least-squares lines over the last few values. Medians are what a spiky series needs: a
 * smoothing is pulled up by every spike, a median forgets it at once.
 */
import type { ExpertGroup } from './expert-group.js';

const MEDIANS = [3, 5, 9, 15, 31, 61] as const;
const MEANS = [5, 20, 60] as const;
const LINES = [8, 24] as const;
const CAPACITY = 64;

/** State: one ring of 64 values a series, one sorted window a median, running sums for the means. */
export class WindowGroup implements ExpertGroup {
  readonly names: readonly string[] = [
    ...MEDIANS.map((w) => `median-${w}`),
    ...MEANS.map((w) => `mean-${w}`),
    ...LINES.map((w) => `line-${w}`),
  ];
  private readonly ring: Float64Array;
  private readonly seen: Int32Array;
  private readonly sorted: Float64Array;
  private readonly sortedStride: number;

  constructor(seriesCount: number) {
    this.ring = new Float64Array(seriesCount * CAPACITY);
    this.seen = new Int32Array(seriesCount);
    this.sortedStride = MEDIANS.reduce((sum, w) => sum + w, 0);
    this.sorted = new Float64Array(seriesCount * this.sortedStride);
  }

  update(series: number, value: number): void {
    const seen = this.seen[series]!;
    let base = series * this.sortedStride;
    for (const width of MEDIANS) {
      const held = Math.min(seen, width);
      if (seen >= width) {
        replaceSorted(this.sorted, base, held, this.back(series, width - 1), value);
      } else insertSorted(this.sorted, base, held, value);
      base += width;
    }
    this.ring[series * CAPACITY + (seen % CAPACITY)] = value;
    this.seen[series] = seen + 1;
  }

  predict(series: number, horizon: number, out: Float64Array, offset: number): void {
    const seen = this.seen[series]!;
    let write = offset;
    let base = series * this.sortedStride;
    for (const width of MEDIANS) {
      out[write++] = medianOfSorted(this.sorted, base, Math.min(seen, width));
      base += width;
    }
    for (const width of MEANS) out[write++] = this.mean(series, Math.min(seen, width));
    for (const width of LINES) out[write++] = this.line(series, Math.min(seen, width), horizon);
  }

  /** Value `k` steps before the last one. */
  private back(series: number, k: number): number {
    return this.ring[series * CAPACITY + ((this.seen[series]! - 1 - k) % CAPACITY)]!;
  }

  private mean(series: number, count: number): number {
    let sum = 0;
    for (let k = 0; k < count; k++) sum += this.back(series, k);
    return sum / count;
  }

  private line(series: number, count: number, horizon: number): number {
    if (count < 3) return this.back(series, 0);
    let sum = 0;
    let weighted = 0;
    for (let k = 0; k < count; k++) {
      const value = this.back(series, k);
      sum += value;
      weighted -= k * value;
    }
    const centre = -(count - 1) / 2;
    const slope = (weighted - centre * sum) / ((count * (count * count - 1)) / 12);
    return sum / count + slope * (horizon - centre);
  }
}

function insertSorted(sorted: Float64Array, base: number, held: number, value: number): void {
  let at = base + held;
  while (at > base && sorted[at - 1]! > value) {
    sorted[at] = sorted[at - 1]!;
    at--;
  }
  sorted[at] = value;
}

function replaceSorted(sorted: Float64Array, base: number, held: number, old: number, value: number): void {
  let at = base;
  while (at < base + held - 1 && sorted[at] !== old) at++;
  while (at > base && sorted[at - 1]! > value) {
    sorted[at] = sorted[at - 1]!;
    at--;
  }
  while (at < base + held - 1 && sorted[at + 1]! < value) {
    sorted[at] = sorted[at + 1]!;
    at++;
  }
  sorted[at] = value;
}

function medianOfSorted(sorted: Float64Array, base: number, held: number): number {
  const middle = base + (held >> 1);
  return held % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
