/**
 * `EtsFitter` by @bsull/augurs (Grafana's augurs, MIT or Apache-2.0): automatic choice among ETS models without a season.
 * Imports the library's JavaScript only; its WebAssembly is passed in as bytes or a compiled module.
 */
import initEts, { AutoETS } from '@bsull/augurs/ets';
import type { EtsFitter } from './ets-group.js';

/** Instantiates the library. `wasm` are the bytes of `@bsull/augurs/ets_bg.wasm`. */
export async function openAugursEts(wasm: Uint8Array): Promise<EtsFitter> {
  await initEts({ module_or_path: wasm });
  return {
    forecast(values, steps) {
      const model = new AutoETS(1, 'ZZN');
      try {
        model.fit(values);
        return Float64Array.from(model.predict(steps).point);
      } finally {
        model.free();
      }
    },
  };
}
