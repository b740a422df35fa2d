/** The data of a backtest: series of one file on their common clock. */

/** One file: `values[s][i]` at `timesS[i]`, NaN where a series has no value; rows ascend in time without repeats. */
export interface PanelData {
  readonly names: readonly string[];
  readonly timesS: Float64Array;
  readonly stepS: number;
  /** Whether times are calendar times or keep the phase of the day. */
  readonly calendar: boolean;
  readonly values: readonly Float64Array[];
  readonly auxNames: readonly string[];
  /** Other columns, (row × series + s) × auxNames.length + a. */
  readonly aux: Float32Array | undefined;
}

/** First row that is an origin of a series: the middle of its own rows. */
export function firstOrigin(values: Float64Array): number {
  let count = 0;
  for (const v of values) if (Number.isFinite(v)) count++;
  const skip = Math.floor(count / 2);
  let seen = 0;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]!)) continue;
    if (seen === skip) return i;
    seen++;
  }
  return values.length;
}

/** Row of the target `horizon` steps after row `i`, -1 when it does not exist or lies across a gap. */
export function targetRow(data: PanelData, values: Float64Array, i: number, horizon: number): number {
  const row = i + horizon;
  if (row >= data.timesS.length) return -1;
  for (let k = i + 1; k <= row; k++) {
    if (!Number.isFinite(values[k]!)) return -1;
    if (Math.abs(data.timesS[k]! - data.timesS[k - 1]! - data.stepS) > data.stepS / 2) return -1;
  }
  return row;
}

/** Share of steps on which a series repeats its value exactly. */
export function repeatedRatio(values: Float64Array): number {
  let repeats = 0;
  let count = 0;
  for (let i = 1; i < values.length; i++) {
    if (!Number.isFinite(values[i]!)) continue;
    count++;
    if (values[i] === values[i - 1]) repeats++;
  }
  return count === 0 ? 0 : repeats / count;
}
