import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nestProbabilities, sortQuantiles } from './coherence.js';
import { pinballLoss } from './forecast-scores.js';

const amount = fc.double({ min: -1e6, max: 1e6, noNaN: true });
const probability = fc.oneof(
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.constantFrom(0, 1, 0.1, Number.NaN),
);

describe('coherence', () => {
  it('sorts quantiles, and their losses together are not higher', () => {
    fc.assert(
      fc.property(fc.array(amount, { minLength: 3, maxLength: 3 }), amount, (values, actual) => {
        const ratios = [0.1, 0.5, 0.9];
        const loss = (quantiles: ArrayLike<number>): number =>
          ratios.reduce((sum, ratio, q) => sum + pinballLoss(quantiles[q]!, actual, ratio), 0);
        const sorted = Float64Array.from(values);
        sortQuantiles(sorted);
        expect([...sorted]).toEqual([...values].sort((a, b) => a - b));
        expect(loss(sorted)).toBeLessThanOrEqual(loss(values) + 1e-6);
      }),
    );
  });

  it('nests probabilities, and their Brier scores together are not higher, whenever it happens', () => {
    fc.assert(
      fc.property(fc.array(probability, { maxLength: 8 }), fc.nat(8), (values, first) => {
        const nested = Float64Array.from(values);
        nestProbabilities(nested);
        const known = [...nested].filter((p) => !Number.isNaN(p));
        for (const p of known) expect(p >= 0 && p <= 1).toBe(true);
        for (let i = 1; i < known.length; i++) expect(known[i]).toBeGreaterThanOrEqual(known[i - 1]!);
        expect([...nested].map(Number.isNaN)).toEqual(values.map(Number.isNaN));
        const brier = (ps: ArrayLike<number>): number =>
          [...values.keys()].reduce((sum, h) => sum + ((ps[h]! || 0) - (h >= first ? 1 : 0)) ** 2, 0);
        expect(brier(nested)).toBeLessThanOrEqual(brier(values.map((p) => p || 0)) + 1e-9);
      }),
      { numRuns: 2000 },
    );
  });

  it('leaves what is possible as it is', () => {
    const nested = Float64Array.of(0.1, 0.1, 0.3, Number.NaN, 0.7);
    nestProbabilities(nested);
    expect([...nested]).toEqual([0.1, 0.1, 0.3, Number.NaN, 0.7]);
    const falling = Float64Array.of(0.2, 0.6, 0.4, 0.9);
    nestProbabilities(falling);
    expect([...falling]).toEqual([0.2, 0.5, 0.5, 0.9]);
  });
});
