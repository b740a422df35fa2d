import { describe, expect, it } from 'vitest';
import { createRandom } from '../seeded-random.js';
import { BASELINES, runBaseline } from './baselines.js';
import { fitEts, forecastEts } from './ets-filter.js';
import { findLeak } from './causality.js';
import { firstOrigin, type PanelData, targetRow } from './panel-data.js';
import { isFitWorthwhile, runRestitch } from './restitch-method.js';
import { runBacktest } from './run-backtest.js';

/** A load with a season, bursts and a companion metric. */
function makePanel(rows: number, seriesCount = 1): PanelData {
  const random = createRandom(rows + seriesCount);
  const values = Array.from({ length: seriesCount }, () => {
    let burst = 0;
    return Float64Array.from({ length: rows }, (_, t) => {
      burst = random() < 0.03 ? 2 : burst * 0.8;
      return 5 + 2 * Math.sin(t / 15) + burst + random();
    });
  });
  return {
    names: values.map((_, s) => `s${s}`),
    timesS: Float64Array.from({ length: rows }, (_, t) => t * 60),
    stepS: 60,
    calendar: true,
    values,
    auxNames: ['queue'],
    aux: Float32Array.from({ length: rows * seriesCount }, () => random()),
  };
}

const restitch = (data: PanelData) =>
  runRestitch(data, { horizons: [1, 5], limitRatio: 0.9, seed: 1 }).map((f) => [
    ...f.medians,
    ...f.lows,
    ...f.highs,
    ...f.overload,
  ]);

describe('probabilities of overload', () => {
  it('are nested: what happens within a time happens within a longer one', () => {
    const [series] = runRestitch(makePanel(1_500), { horizons: [1, 2, 5, 15], limitRatio: 0.9, seed: 1 });
    let rows = 0;
    for (let row = 750; row < 1_500; row++) {
      const said = series!.overload.map((p) => p[row]!);
      if (said.some(Number.isNaN)) continue;
      rows++;
      expect(said).toEqual([...said].sort((a, b) => a - b));
    }
    expect(rows).toBeGreaterThan(500);
  }, 60_000);
});

describe('fits of a backtest', () => {
  it('are all made at first, and a hundred of them in two million rows', () => {
    let last = 0;
    let fits = 0;
    for (let row = 0; row <= 2_000_000; row += 2_880) {
      if (!isFitWorthwhile(row, last)) continue;
      if (row > 0 && row <= 57_600) expect(row - last).toBe(2_880);
      last = row;
      fits++;
    }
    expect(fits).toBeGreaterThan(60);
    expect(fits).toBeLessThan(110);
  });
});

describe('leaks', () => {
  const data = makePanel(1_200);
  const cut = 1_000;

  it('none in restitch, trees and classifier included, nor in a baseline', () => {
    expect(findLeak(data, restitch, cut)).toBeUndefined();
    for (const name of BASELINES) {
      expect(findLeak(data, (d) => [runBaseline(name, d, 0, [1, 5])], cut)).toBeUndefined();
    }
  }, 60_000);

  it('a planted label used too early is shown', () => {
    // Learns the usual 5-step change, but counts the change from t to t + 5 already at t.
    const leaky = (d: PanelData) => {
      const values = d.values[0]!;
      let change = 0;
      return [
        [
          values.map((v, t) => {
            const label = (values[t + 5] ?? v) - v;
            change += 0.1 * (label - change);
            return v + change;
          }),
        ],
      ];
    };
    const leak = findLeak(data, leaky, cut);
    expect(leak?.row).toBeGreaterThan(cut - 5);
    expect(leak?.row).toBeLessThanOrEqual(cut);
  });

  it('the same learner with matured labels is not accused', () => {
    const honest = (d: PanelData) => {
      const values = d.values[0]!;
      let change = 0;
      return [
        [
          values.map((v, t) => {
            if (t >= 5) change += 0.1 * (v - values[t - 5]! - change);
            return v + change;
          }),
        ],
      ];
    };
    expect(findLeak(data, honest, cut)).toBeUndefined();
  });

  it('a planted scaler fitted on the whole file is shown from the first row', () => {
    const leaky = (d: PanelData) => {
      const values = d.values[0]!;
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      return [[values.map((v) => mean + 0.9 * (v - mean))]];
    };
    expect(findLeak(data, leaky, cut)?.row).toBe(0);
  });
});

describe('protocol', () => {
  it('starts at the middle of a series and scores no target across a gap', () => {
    const data = makePanel(100);
    data.timesS.set(
      data.timesS.subarray(60).map((t) => t + 600),
      60,
    );
    expect(firstOrigin(data.values[0]!)).toBe(50);
    expect(targetRow(data, data.values[0]!, 57, 2)).toBe(59);
    expect(targetRow(data, data.values[0]!, 58, 2)).toBe(-1);
    expect(targetRow(data, data.values[0]!, 98, 2)).toBe(-1);
  });

  it('reports errors relative to naive, coverage, overload and what was left out', () => {
    const data = makePanel(900, 2);
    data.values[1]!.fill(7);
    const report = runBacktest([data], { horizons: [1, 5], limitRatio: 0.9, seed: 1 });
    expect(report.leftOut).toBe(1);
    expect(report.leftOutSeries).toHaveLength(2);
    expect(report.leftOutSeries[0]).toEqual({ name: 's1', h: 1, reason: 'naive error is zero' });
    expect(report.series).toHaveLength(2);
    expect(report.series[1]!.repeatedRatio).toBe(1);
    for (const row of report.horizons) {
      expect(row.naive).toBeCloseTo(1, 9);
      expect(row.restitch.rmae).toBeLessThan(0.98);
      expect(row.restitch.rmae).toBeLessThan(Math.min(row.ses, row.ets, row.seasonal) * 1.01);
      expect(row.overload!.restitch.ap).toBeGreaterThan(row.overload!.baseRate);
      expect(row.restitch.coverage80).toBeGreaterThan(0.72);
    }
  }, 60_000);
});

describe('ets baseline', () => {
  it('follows a trend and settles on a level', () => {
    const ramp = fitEts(Float64Array.from({ length: 100 }, (_, t) => 3 * t));
    expect(forecastEts(ramp, 5)).toBeGreaterThan(99 * 3 + 8);
    const random = createRandom(3);
    const level = fitEts(Float64Array.from({ length: 200 }, () => 10 + random()));
    expect(Math.abs(forecastEts(level, 5) - 10.5)).toBeLessThan(0.2);
  });
});
