import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DemandMeter } from './demand-meter.js';

/** Demand told after each second: `used` share of a quota of half a CPU, requests at 1 % of it each, on top of `idle`. */
function play(seconds: readonly { readonly asked: number; readonly used?: number }[], idle = 0) {
  const meter = new DemandMeter();
  return seconds.map(({ asked, used = Math.min(1, asked) }) => {
    const demand = meter.observe(0, used, 0.5, (asked - idle) * 100, 1);
    return { demand, backlogS: meter.backlog(0) / 0.5 };
  });
}

const calm = Array.from({ length: 20 }, (_, i) => ({ asked: 0.4 + 0.01 * (i % 3) }));

describe('demand', () => {
  it('is what was measured below the quota, and goes on above it', () => {
    const said = play([...calm, { asked: 0.9 }, { asked: 1.4 }, { asked: 1.5 }]);
    expect(said[20]!.demand).toBe(0.9);
    expect(said[21]!.demand).toBeCloseTo(1.4, 2);
    expect(said[22]!.demand).toBeCloseTo(1.5, 2);
    expect(said[22]!.backlogS).toBeCloseTo(0.9, 2);
  });

  it('does not take the work that waits for new demand, and forgets it when the quota is not used up any more', () => {
    const said = play([...calm, { asked: 1.5 }, { asked: 0.7, used: 1 }, { asked: 0.7, used: 0.9 }]);
    expect(said[21]!.demand).toBeCloseTo(0.7, 2);
    expect(said[21]!.backlogS).toBeCloseTo(0.2, 2);
    expect(said[22]).toEqual({ demand: 0.9, backlogS: 0 });
  });

  it('takes a full quota that requests do not explain for what it is', () => {
    const said = play([...calm, { asked: 0.6, used: 1 }, { asked: 0.6, used: 1 }]);
    expect(said[20]!.demand).toBe(1);
    expect(said[21]!.demand).toBe(1);
  });

  it('tells the idle process from its requests once their rate has varied', () => {
    const varied = Array.from({ length: 60 }, (_, i) => ({ asked: 0.3 + 0.3 * Math.sin(i) ** 2 }));
    // Through nought it would be 2.5.
    expect(Math.abs(play([...varied, { asked: 1.6 }], 0.2).at(-1)!.demand - 1.6)).toBeLessThan(0.1);
  });

  it('knows no more than was measured before a request was seen', () => {
    expect(play([{ asked: 1.5 }, { asked: 1.5 }]).map((s) => s.demand)).toEqual([1, 1]);
    const meter = new DemandMeter();
    expect(meter.observe(0, 1, 1, undefined, 1)).toBe(1);
    expect(meter.observe(0, Number.NaN, 1, 5, 1)).toBeNaN();
  });

  it('is finite, not negative, and never below a measured share short of the quota (property)', () => {
    const second = fc.record({
      ratio: fc.double({ min: 0, max: 1.2, noNaN: true }),
      requests: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true }), { nil: undefined }),
      cores: fc.constantFrom(0.2, 1, 64),
    });
    fc.assert(
      fc.property(fc.array(second, { maxLength: 80 }), (seconds) => {
        const meter = new DemandMeter();
        for (const { ratio, requests, cores } of seconds) {
          const demand = meter.observe(0, ratio, cores, requests, 1);
          expect(demand).toBeGreaterThanOrEqual(0);
          expect(Number.isFinite(demand)).toBe(true);
          if (ratio < 0.97) expect(demand).toBe(ratio);
          expect(meter.backlog(0)).toBeGreaterThanOrEqual(0);
          expect(meter.backlog(0)).toBeLessThanOrEqual(30 * cores);
        }
      }),
    );
  });
});
