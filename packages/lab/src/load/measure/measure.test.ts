import { describe, expect, it } from 'vitest';
import { findGapMs, toAnswerSeries, toPauseSeries } from './gaps.js';
import { describeValues } from './percentiles.js';
import { compareRates, poissonUpper95 } from './rate-ratio.js';

describe('describeValues', () => {
  it('gives measured values', () => {
    const values = Array.from({ length: 100 }, (_, i) => i + 1);
    expect(describeValues(values)).toEqual({ p50: 50, p99: 99, max: 100 });
    expect(describeValues([])).toEqual({ p50: 0, p99: 0, max: 0 });
  });
});

describe('findGapMs', () => {
  // One answer each 5 ms, 1 ms each; the one scheduled at 20 took 9 ms.
  const samples = Float64Array.from([0, 5, 10, 15, 20, 25, 30].flatMap((at) => [at, at === 20 ? 9 : 1]));
  const series = toAnswerSeries(samples);

  it('takes the worst answer that overlaps the window, less the median', () => {
    expect(findGapMs(series, 22, 23)).toBe(8);
    expect(findGapMs(series, 28.5, 30)).toBe(8);
  });

  it('says nothing where no answer overlaps, and nought where it was an ordinary one', () => {
    expect(findGapMs(series, 12, 13)).toBeUndefined();
    expect(findGapMs(series, 9, 12)).toBe(0);
  });

  it('takes pauses as they are', () => {
    const pauses = toPauseSeries(Float64Array.from([10, 0.5, 20, 6]));
    expect(findGapMs(pauses, 15, 16)).toBe(6);
  });
});

describe('poissonUpper95', () => {
  it('is the exact bound (Garwood 1936, table)', () => {
    expect(poissonUpper95(0)).toBeCloseTo(2.996, 3);
    expect(poissonUpper95(1)).toBeCloseTo(4.744, 3);
    expect(poissonUpper95(10)).toBeCloseTo(16.962, 3);
  });
});

describe('compareRates', () => {
  it('bounds the ratio from above, and more tightly with more events', () => {
    const few = compareRates({ events: 10, exposure: 100 }, { events: 10, exposure: 100 });
    const many = compareRates({ events: 1000, exposure: 100 }, { events: 1000, exposure: 100 });
    expect(few.ratio).toBe(1);
    expect(few.upper95).toBeGreaterThan(2);
    expect(many.upper95).toBeGreaterThan(1.05);
    expect(many.upper95).toBeLessThan(1.1);
    expect(compareRates({ events: 0, exposure: 1 }, { events: 0, exposure: 1 }).upper95).toBe(Infinity);
  });
});
