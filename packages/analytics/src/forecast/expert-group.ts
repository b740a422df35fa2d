/**
 * The contract of forecasting experts. A group holds the state of all series of a panel in typed arrays, because one
 * object a series would cost more memory than the numbers in it.
 */

/** Several experts that share state; series and horizons are indexes. */
export interface ExpertGroup {
  /** One name an expert, unique in a panel. */
  readonly names: readonly string[];
  /** Folds the next value of `series` in; never NaN. O(1) for a fixed configuration. */
  update(series: number, value: number): void;
  /** Writes one forecast an expert for `horizon` steps ahead to `out[offset …]`; reads only. */
  predict(series: number, horizon: number, out: Float64Array, offset: number): void;
}
