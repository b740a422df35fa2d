import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sigmoid } from '../boosting/boosted-trees.js';
import { createRandom } from '../seeded-random.js';
import { exceedanceProbability } from './exceedance.js';
import { PlattCalibrator } from './platt-calibrator.js';
import { CAUSES, type CauseRisks, type Risk, scoreStability, stabilityOf } from './stability-score.js';

const risk = fc.oneof(
  fc.double({ min: -0.5, max: 1.5, noNaN: false }),
  fc.constantFrom<Risk>('unknown', 0, 1, 1e-12, 1 - 1e-12),
) as fc.Arbitrary<Risk>;

describe('stability score', () => {
  it('lies in [0, 1] and its contributions sum to 1 − score, whatever the risks', () => {
    fc.assert(
      fc.property(
        fc.record({ load: risk, failure: risk, path: risk, client: risk, event: risk }),
        (risks) => {
          const { score, contributions, unknown } = scoreStability(risks);
          expect(score).toBeGreaterThanOrEqual(0);
          expect(score).toBeLessThanOrEqual(1);
          const sum = contributions.reduce((total, c) => total + c.share, 0);
          expect(Math.abs(sum - (1 - score))).toBeLessThan(1e-9);
          for (const c of contributions) expect(c.share).toBeGreaterThanOrEqual(0);
          expect(contributions.length + unknown.length).toBe(CAUSES.length);
          const number = (r: Risk) => (r === 'unknown' ? Number.NaN : r);
          const fast = stabilityOf(
            number(risks.load),
            number(risks.failure),
            number(risks.path),
            number(risks.client),
            number(risks.event),
          );
          expect(fast).toBeCloseTo(score, 9);
        },
      ),
    );
  });

  it('is the product of the complements, and lists what is not known', () => {
    const risks: CauseRisks = { load: 0.5, failure: 'unknown', path: 0.2, client: 0, event: 0 };
    const { score, unknown, contributions } = scoreStability(risks);
    expect(score).toBeCloseTo(0.4, 12);
    expect(unknown).toEqual(['failure']);
    expect(contributions[0]!.share).toBeCloseTo((0.6 * Math.log(2)) / (Math.log(2) + Math.log(1.25)), 12);
  });

  it('gives the whole risk to a certain event', () => {
    const { score, contributions } = scoreStability({ load: 0.9, failure: 0, path: 0, client: 0, event: 1 });
    expect(score).toBe(0);
    expect(contributions.find((c) => c.cause === 'event')!.share).toBe(1);
  });
});

describe('exceedance', () => {
  it('agrees with the quantiles and falls with the limit', () => {
    const band = { p10: 10, p50: 20, p90: 40 };
    expect(exceedanceProbability(band, 10)).toBeCloseTo(0.9, 12);
    expect(exceedanceProbability(band, 20)).toBeCloseTo(0.5, 12);
    expect(exceedanceProbability(band, 40)).toBeCloseTo(0.1, 12);
    let last = 1;
    for (let limit = -50; limit < 200; limit++) {
      const p = exceedanceProbability(band, limit);
      expect(p).toBeLessThanOrEqual(last);
      last = p;
    }
    expect(exceedanceProbability({ p10: Number.NaN, p50: 1, p90: 2 }, 1)).toBeNaN();
    // A median outside its band is no reason to say "no risk".
    expect(exceedanceProbability({ p10: 2, p50: 1, p90: 3 }, 2.5)).toBeCloseTo(0.3, 12);
    expect(exceedanceProbability({ p10: 5, p50: 5, p90: 5 }, 6)).toBe(0);
    expect(exceedanceProbability({ p10: 5, p50: 5, p90: 5 }, 4)).toBe(1);
  });
});

describe('calibrator', () => {
  it('learns that a model is overconfident and shifted', () => {
    const random = createRandom(1);
    const calibrator = new PlattCalibrator();
    for (let i = 0; i < 6_000; i++) {
      const score = 8 * random() - 4;
      calibrator.learn(score, random() < sigmoid(0.5 * score - 1));
    }
    for (const score of [-3, 0, 3]) {
      expect(Math.abs(calibrator.probability(score) - sigmoid(0.5 * score - 1))).toBeLessThan(0.05);
    }
  });

  it('leaves probabilities alone while there are few labels, and keeps their order', () => {
    const calibrator = new PlattCalibrator({ refitEvery: 5 });
    for (let i = 0; i < 5; i++) calibrator.learn(1, true);
    expect(calibrator.probability(0)).toBeLessThan(0.85);
    expect(calibrator.probability(1)).toBeGreaterThan(calibrator.probability(0.5));
  });
});
