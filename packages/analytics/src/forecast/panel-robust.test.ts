import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../seeded-random.js';
import { PanelForecaster } from './panel-forecaster.js';

/** Values as telemetry brings them: ordinary, huge, tiny, negative, missing, infinite. */
const value = fc.oneof(
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.double({ min: -1e12, max: 1e12, noNaN: true }),
  fc.constantFrom(0, 0, 1e-300, 1e15, -1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
);

describe('panel forecaster on hostile telemetry', () => {
  it('gives finite, ordered quantiles once a series has had one finite value, whatever comes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ value, gapS: fc.constantFrom(60, 60, 60, 0, -500, 7_000, Number.NaN) }), {
          minLength: 1,
          maxLength: 120,
        }),
        (script) => {
          const panel = new PanelForecaster({
            seriesCount: 2,
            horizons: [1, 4],
            stepS: 60,
            calendar: true,
            auxCount: 1,
            trainingRows: 500,
          });
          let timeS = 0;
          let seen = false;
          for (const { value: v, gapS } of script) {
            timeS += Number.isNaN(gapS) ? 60 : gapS;
            panel.observe(Number.isNaN(gapS) ? gapS : timeS, Float64Array.of(v, 5), Float32Array.of(v, v));
            seen ||= Number.isFinite(v);
          }
          for (let cell = 0; cell < 4; cell++) {
            if (cell < 2 && !seen) {
              expect(panel.medians[cell]).toBeNaN();
              continue;
            }
            expect(Number.isFinite(panel.medians[cell]!)).toBe(true);
            expect(panel.quantiles[cell * 2]!).toBeLessThanOrEqual(panel.medians[cell]!);
            expect(panel.medians[cell]!).toBeLessThanOrEqual(panel.quantiles[cell * 2 + 1]!);
          }
          // The neighbour with a steady value is not disturbed by the other series.
          expect(panel.medians[2]).toBeCloseTo(5, 6);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('keeps forecasting a constant series as that constant, after training too', () => {
    const panel = new PanelForecaster({
      seriesCount: 1,
      horizons: [1, 4],
      stepS: 60,
      calendar: true,
      trainingRows: 1_000,
    });
    for (let t = 0; t < 700; t++) {
      panel.observe(t * 60, Float64Array.of(0.25));
      if (panel.trainingDue()) panel.train();
    }
    expect(panel.model).toBeDefined();
    expect(panel.medians[0]).toBeCloseTo(0.25, 9);
    expect(panel.quantiles[1]! - panel.quantiles[0]!).toBeLessThan(1e-6);
  });

  it('says nothing impossible of skewed series: quantiles ascend around the median, and what was never negative stays so', () => {
    const random = createRandom(5);
    const seriesCount = 40;
    const steps = 1_500;
    const panel = new PanelForecaster({
      seriesCount,
      horizons: [1, 5, 15],
      stepS: 60,
      calendar: false,
      trainingRows: 1_000,
    });
    const values = new Float64Array(seriesCount);
    let cells = 0;
    for (let t = 0; t < steps; t++) {
      for (let s = 0; s < seriesCount; s++) {
        const spike = random() < 0.02 * (1 + (s % 5)) ? 50 * random() ** 3 : 0;
        const saw = s % 3 === 0 ? (t % (10 + s)) / 10 : 0;
        values[s] = s % 7 === 0 && random() < 0.7 ? 0 : spike + saw + 0.1 * random() ** 4;
      }
      panel.observe(60 * t, values);
      if (panel.trainingDue()) panel.train();
      for (let cell = 0; cell < panel.medians.length; cell++, cells++) {
        const low = panel.quantiles[cell * 2]!;
        const median = panel.medians[cell]!;
        if (!(low >= 0 && low <= median && median <= panel.quantiles[cell * 2 + 1]!))
          expect.fail(`step ${t}, cell ${cell}: ${low}, ${median}, ${panel.quantiles[cell * 2 + 1]!}`);
      }
    }
    expect(cells).toBe(steps * seriesCount * 3);
  }, 60_000);
});
