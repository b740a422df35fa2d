/**
 * Shows a leak: whatever happens after a row must not change what was forecast up to it. The method runs twice, the second
 * time with another future, and every forecast up to the cut is compared bit by bit. No list of known mistakes is needed:
 * a label used too early and a scaler fitted on the whole file both fail it.
 */
import type { PanelData } from './panel-data.js';

/** Any method: forecasts of each series, each with arrays indexed by row. */
export type CheckedMethod = (data: PanelData) => readonly (readonly Float64Array[])[];

/** The first forecast that knew of a future it could not know. */
export interface Leak {
  readonly series: string;
  readonly array: number;
  readonly row: number;
  readonly forecast: number;
  readonly withOtherFuture: number;
}

/** Runs `method` on `data` and on `data` with another future after row `cut`; `undefined` when nothing leaked. */
export function findLeak(data: PanelData, method: CheckedMethod, cut: number): Leak | undefined {
  const told = method(data);
  const other = method(withOtherFuture(data, cut));
  for (let s = 0; s < told.length; s++) {
    for (let a = 0; a < told[s]!.length; a++) {
      for (let row = 0; row <= cut; row++) {
        const forecast = told[s]![a]![row]!;
        const changed = other[s]![a]![row]!;
        if (Object.is(forecast, changed)) continue;
        return { series: data.names[s]!, array: a, row, forecast, withOtherFuture: changed };
      }
    }
  }
  return undefined;
}

/** The same past, and a future that is upside down, larger and reversed in time. */
function withOtherFuture(data: PanelData, cut: number): PanelData {
  const flip = (values: Float64Array): Float64Array => {
    const reference = values[cut]!;
    const rest = values.length - cut - 1;
    return values.map((v, i) => (i <= cut ? v : 3 * reference - 2 * values[cut + rest - (i - cut - 1)]! + 1));
  };
  const width = data.names.length * data.auxNames.length;
  return {
    ...data,
    values: data.values.map(flip),
    aux: data.aux?.map((v, i) => (i < (cut + 1) * width ? v : 1 - 2 * v)),
  };
}
