import { describe, expect, it } from 'vitest';
import { simulateLab } from './simulation.js';
import type { Simulated } from './simulation.js';
import type { TrafficPattern } from './traffic.js';

const seeds = [1, 2, 3];

function simulate(pattern: TrafficPattern, rule: 'predictive' | 'reactive'): Simulated[] {
  return seeds.map((seed) => simulateLab(pattern, rule, seed).run());
}

describe('on the traffic of the laboratory', () => {
  it.each(['ramp', 'wave'] as const)(
    'the forecast halves the overload of the reactive rule: %s',
    (pattern) => {
      const reactive = simulate(pattern, 'reactive');
      const predictive = simulate(pattern, 'predictive');
      predictive.forEach((run, i) => {
        expect(run.overloadSeconds).toBeLessThanOrEqual(0.5 * (reactive[i]?.overloadSeconds ?? 0));
        expect(run.fellBack).toBe(false);
      });
    },
    30_000,
  );

  it('the forecast does no harm where nothing can be foreseen: flash', () => {
    const reactive = simulate('flash', 'reactive');
    simulate('flash', 'predictive').forEach((run, i) => {
      expect(run.overloadSeconds).toBeLessThanOrEqual(1.1 * (reactive[i]?.overloadSeconds ?? 0));
    });
  }, 30_000);
});
