/**
 * Features as small integers: each column is cut into at most 63 bins by its quantiles, so that finding a split is one
 * pass over bytes instead of a sort of doubles. Bin 0 holds missing values (NaN), which therefore always go left.
 * Source: Ke et al., "LightGBM", NeurIPS 2017, section 2.1.
 */
import type { Random } from '../seeded-random.js';

/** Bins a column including the one for missing values; a histogram of one column is then 1 KB and stays in L1. */
export const BINS = 64;
/** Rows looked at to place the cuts; more changes the cuts by less than the noise of the data. */
const CUT_SAMPLE_ROWS = 4_000;

/** Column-major codes of `rowCount` rows; `cuts[f][b]` is the largest value of bin b + 1. */
export interface BinMatrix {
  readonly rowCount: number;
  readonly columnCount: number;
  readonly codes: Uint8Array;
  readonly cuts: readonly Float32Array[];
}

/**
 * Bins row-major `rows` (`rowCount` × `columnCount`). Cuts come from these rows only, so a caller who passes rows up to
 * t learns nothing from after t.
 */
export function createBinMatrix(
  rows: Float32Array,
  rowCount: number,
  columnCount: number,
  random: Random,
): BinMatrix {
  const codes = new Uint8Array(rowCount * columnCount);
  const cuts: Float32Array[] = [];
  const sampleCount = Math.min(rowCount, CUT_SAMPLE_ROWS);
  const sampled = new Int32Array(sampleCount);
  for (let i = 0; i < sampleCount; i++) {
    sampled[i] = sampleCount === rowCount ? i : Math.floor(random() * rowCount);
  }
  for (let column = 0; column < columnCount; column++) {
    const columnCuts = placeCuts(rows, columnCount, column, sampled);
    cuts.push(columnCuts);
    encodeColumn({ rows, rowCount, columnCount, column }, columnCuts, codes);
  }
  return { rowCount, columnCount, codes, cuts };
}

function placeCuts(
  rows: Float32Array,
  columnCount: number,
  column: number,
  sampled: Int32Array,
): Float32Array {
  const values = new Float32Array(sampled.length);
  let count = 0;
  for (const row of sampled) {
    const value = rows[row * columnCount + column]!;
    if (value === value) values[count++] = value;
  }
  const sorted = values.subarray(0, count).sort();
  const cuts: number[] = [];
  for (let b = 1; b < BINS - 1; b++) {
    const cut = sorted[Math.min(count - 1, Math.floor((b * count) / (BINS - 1)))];
    if (
      cut !== undefined &&
      cut < sorted[count - 1]! &&
      (cuts.length === 0 || cut > cuts[cuts.length - 1]!)
    ) {
      cuts.push(cut);
    }
  }
  return Float32Array.from(cuts);
}

function encodeColumn(
  source: { rows: Float32Array; rowCount: number; columnCount: number; column: number },
  cuts: Float32Array,
  codes: Uint8Array,
): void {
  const { rows, rowCount, columnCount, column } = source;
  const offset = column * rowCount;
  for (let row = 0; row < rowCount; row++) {
    const value = rows[row * columnCount + column]!;
    if (value !== value) continue;
    let low = 0;
    let high = cuts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (value <= cuts[middle]!) high = middle;
      else low = middle + 1;
    }
    codes[offset + row] = low + 1;
  }
}
