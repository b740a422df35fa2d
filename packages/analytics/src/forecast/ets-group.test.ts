import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../seeded-random.js';
import { openAugursEts } from './augurs-ets.js';
import { EtsGroup } from './ets-group.js';

const library = dirname(createRequire(import.meta.url).resolve('@bsull/augurs'));

describe('ets expert', () => {
  it('follows a trend through the WebAssembly library, between fits too', async () => {
    const fitter = await openAugursEts(await readFile(join(library, 'ets_bg.wasm')));
    const random = createRandom(1);
    const group = new EtsGroup(2, fitter, 5);
    const out = new Float64Array(1);
    let error = 0;
    for (let t = 0; t < 400; t++) {
      group.update(0, 2 * t + random());
      group.update(1, 7);
      group.predict(0, 5, out, 0);
      if (t >= 100) error += Math.abs(out[0]! - (2 * (t + 5) + 0.5)) / 300;
    }
    expect(error).toBeLessThan(1);
    group.predict(1, 5, out, 0);
    expect(out[0]).toBeCloseTo(7, 6);
  });

  it('keeps the last value when a fit fails or is not finite', () => {
    const out = new Float64Array(1);
    for (const forecast of [
      () => {
        throw new Error('no model');
      },
      () => new Float64Array(65).fill(Number.NaN),
    ]) {
      const group = new EtsGroup(1, { forecast }, 5);
      for (let t = 0; t < 200; t++) group.update(0, t);
      group.predict(0, 3, out, 0);
      expect(out[0]).toBe(199);
    }
  });
});
