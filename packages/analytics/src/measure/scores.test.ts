import { describe, expect, it } from 'vitest';
import { averagePrecision, brierScore, calibrationError } from './event-scores.js';
import { geometricMean, meanAbsoluteError, pinballLoss, quantileOf } from './forecast-scores.js';

describe('scores of events', () => {
  it('average precision of a constant is the base rate, whatever the order of rows', () => {
    const labels = Uint8Array.of(1, 0, 0, 0, 1, 0, 0, 0);
    expect(averagePrecision(new Float64Array(8).fill(0.3), labels)).toBeCloseTo(0.25, 12);
  });

  it('average precision of a known ranking is the textbook value', () => {
    // Ranks of positives: 1 and 3, so (1/1 + 2/3) / 2.
    expect(averagePrecision(Float64Array.of(0.9, 0.8, 0.7, 0.1), Uint8Array.of(1, 0, 1, 0))).toBeCloseTo(
      5 / 6,
      12,
    );
    expect(averagePrecision(Float64Array.of(1, 2), Uint8Array.of(0, 0))).toBeNaN();
  });

  it('calibration error is zero for honest bins and the gap otherwise', () => {
    const labels = Uint8Array.of(1, 0, 0, 0);
    expect(calibrationError(new Float64Array(4).fill(0.25), labels)).toBeCloseTo(0, 12);
    expect(calibrationError(new Float64Array(4).fill(0.75), labels)).toBeCloseTo(0.5, 12);
    expect(brierScore(new Float64Array(4).fill(0.25), labels)).toBeCloseTo((0.5625 + 3 * 0.0625) / 4, 12);
  });
});

describe('scores of forecasts', () => {
  it('skip rows that are not known', () => {
    expect(meanAbsoluteError(Float64Array.of(1, Number.NaN, 3), Float64Array.of(2, 5, 5))).toBe(1.5);
    expect(meanAbsoluteError(Float64Array.of(), Float64Array.of())).toBeNaN();
  });

  it('pinball loss is asymmetric as its ratio says', () => {
    expect(pinballLoss(0, 10, 0.9)).toBeCloseTo(9);
    expect(pinballLoss(10, 0, 0.9)).toBeCloseTo(1);
  });

  it('quantiles interpolate as numpy does', () => {
    expect(quantileOf(Float64Array.of(4, 1, 3, 2), 0.95)).toBeCloseTo(3.85, 12);
    expect(geometricMean([1, 4])).toBeCloseTo(2);
  });
});
