import { describe, expect, it } from 'vitest';
import { createRandom } from '../../load/seeded-random.js';
import { faultKinds } from './chaos-faults.js';
import { planSteps } from './lab-chaos.js';

describe('planSteps', () => {
  it('is repeated by its seed, and differs with another', () => {
    expect(planSteps(300, createRandom(5))).toEqual(planSteps(300, createRandom(5)));
    expect(planSteps(300, createRandom(5))).not.toEqual(planSteps(300, createRandom(6)));
  });

  it.each([1, 2, 3, 4, 5])('has every kind in each two hundred steps, seed %i', (seed) => {
    const plan = planSteps(1000, createRandom(seed));
    expect(plan).toHaveLength(1000);
    for (let from = 0; from < 1000; from += 200) {
      const kinds = new Set(plan.slice(from, from + 200));
      expect(faultKinds.filter((kind) => !kinds.has(kind))).toEqual([]);
    }
  });
});
