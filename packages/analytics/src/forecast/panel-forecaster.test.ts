import { describe, expect, it } from 'vitest';
import { createRandom } from '../seeded-random.js';
import { PanelForecaster, type PanelOptions } from './panel-forecaster.js';
import { findPeriod } from './season-group.js';

const BASE: PanelOptions = { seriesCount: 1, horizons: [1, 5], stepS: 60, calendar: false, trainingRows: 0 };

/** Mean absolute errors of the median and of naive over the last half, and coverage of P10..P90, a horizon each. */
function run(values: Float64Array, options: Partial<PanelOptions> = {}) {
  const panel = new PanelForecaster({ ...BASE, ...options });
  const issued: number[][] = [];
  for (let t = 0; t < values.length; t++) {
    panel.observe(t * 60, values.subarray(t, t + 1));
    issued.push([...panel.medians, ...panel.quantiles]);
    if (panel.trainingDue()) panel.train();
  }
  return panel.horizons.map((h, hi) => {
    let error = 0;
    let naive = 0;
    let covered = 0;
    let count = 0;
    for (let t = values.length >> 1; t + h < values.length; t++) {
      const actual = values[t + h]!;
      const row = issued[t]!;
      error += Math.abs(actual - row[hi]!);
      naive += Math.abs(actual - values[t]!);
      if (actual >= row[2 + hi * 2]! && actual <= row[3 + hi * 2]!) covered++;
      count++;
    }
    return { relative: error / naive, coverage: covered / count };
  });
}

describe('panel forecaster', () => {
  it('halves the error of naive on a noisy level and keeps its 80 % promise', () => {
    const random = createRandom(1);
    const values = Float64Array.from({ length: 3_000 }, () => 10 + random() + random() - 1);
    for (const { relative, coverage } of run(values)) {
      expect(relative).toBeLessThan(0.76);
      expect(coverage).toBeGreaterThan(0.77);
      expect(coverage).toBeLessThan(0.83);
    }
  });

  it('is hardly worse than naive on a random walk, where nothing can be won', () => {
    const random = createRandom(2);
    let at = 0;
    const values = Float64Array.from({ length: 3_000 }, () => (at += random() - 0.5));
    for (const { relative } of run(values)) expect(relative).toBeLessThan(1.02);
  });

  it('finds a season it was not told about', () => {
    const random = createRandom(3);
    const values = Float64Array.from(
      { length: 2_000 },
      (_, t) => 5 + 4 * Math.sin((2 * Math.PI * t) / 48) + (random() - 0.5),
    );
    expect(findPeriod(values.subarray(0, 400))).toBe(48);
    expect(run(values)[1]!.relative).toBeLessThan(0.35);
  });

  it('uses another metric of the endpoint through the trees', () => {
    const random = createRandom(4);
    const panel = new PanelForecaster({ ...BASE, horizons: [1], auxCount: 1, trainingRows: 4_000 });
    let next = random();
    let error = 0;
    let naive = 0;
    for (let t = 0; t < 2_500; t++) {
      const value = next;
      next = random();
      // The other metric announces the next value, as a queue announces load.
      panel.observe(t * 60, Float64Array.of(value), Float32Array.of(next));
      if (panel.trainingDue()) panel.train();
      if (t < 1_250) continue;
      error += Math.abs(next - panel.medians[0]!);
      naive += Math.abs(next - value);
    }
    expect(error / naive).toBeLessThan(0.25);
  });

  it('keeps its coverage after the noise grows tenfold', () => {
    const random = createRandom(5);
    const values = Float64Array.from({ length: 4_000 }, (_, t) => (t > 1_000 ? 10 : 1) * (random() - 0.5));
    for (const { coverage } of run(values)) expect(Math.abs(coverage - 0.8)).toBeLessThan(0.03);
  });

  it('neither crashes nor forecasts zero after NaN, gaps and jumping clocks', () => {
    const panel = new PanelForecaster({ ...BASE, seriesCount: 2 });
    const random = createRandom(6);
    let time = 0;
    for (let t = 0; t < 300; t++) {
      time += t % 50 === 49 ? 10_000 : t % 70 === 69 ? -500 : 60;
      panel.observe(time, Float64Array.of(100 + random(), t % 3 === 0 ? Number.NaN : 50));
    }
    for (let cell = 0; cell < 4; cell++) {
      expect(panel.medians[cell]!).toBeGreaterThan(cell < 2 ? 99 : 49);
      expect(panel.medians[cell]!).toBeLessThan(cell < 2 ? 102 : 51);
    }
  });

  it('has no forecast for a series that never reported', () => {
    const panel = new PanelForecaster({ ...BASE, seriesCount: 2 });
    for (let t = 0; t < 20; t++) panel.observe(t * 60, Float64Array.of(1, Number.NaN));
    expect(panel.medians[2]).toBeNaN();
    expect(panel.quantiles[4]).toBeNaN();
  });

  it('lets a new series start where its peers stand', () => {
    const random = createRandom(7);
    const peers = new PanelForecaster({ ...BASE, seriesCount: 21, horizons: [1] });
    const alone = new PanelForecaster({ ...BASE, horizons: [1] });
    let withPeers = 0;
    let withoutPeers = 0;
    for (let t = 0; t < 640; t++) {
      const values = Float64Array.from({ length: 21 }, (_, s) =>
        s === 20 && t < 600 ? Number.NaN : random(),
      );
      if (t > 600) {
        withPeers += Math.abs(values[20]! - peers.medians[20]!);
        withoutPeers += Math.abs(values[20]! - alone.medians[0]!);
      }
      peers.observe(t * 60, values);
      if (t >= 600) alone.observe(t * 60, values.subarray(20));
    }
    expect(withPeers).toBeLessThan(withoutPeers);
  });

  it('says the same for the same seed and input', () => {
    const random = createRandom(8);
    const values = Float64Array.from({ length: 900 }, () => random());
    const once = run(values, { trainingRows: 1_000 });
    expect(run(values, { trainingRows: 1_000 })).toEqual(once);
  });
});
