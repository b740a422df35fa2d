import { describe, expect, it } from 'vitest';
import { rateAt } from '../../load/clients/paced-client.js';
import { calibrate } from './calibration.js';
import type { CpuSample } from './cpu-sampler.js';
import { judgeMoves } from './judge-moves.js';
import { parseModes } from './modes.js';
import { isDisturbed, overloadSeconds } from './overload.js';
import { medianInterval, ratioOf } from './paired.js';
import { plotRuns } from './predict-plot.js';
import { createPredictReport, figuresOf } from './predict-report.js';
import type { PredictRun, RunMove } from './predict-run.js';
import { createTraffic, loadedEndpoint } from './traffic.js';

const lengthMs = 250;
const endpoints = ['a', 'b', 'c'];

/** Samples of a quarter second from instant 0. */
function samplesOf(...ratios: number[]): CpuSample[] {
  return ratios.map((ratio, i) => ({ atMs: (i + 1) * lengthMs, lengthMs, ratio }));
}

const moved: RunMove = {
  session: 's1',
  source: 'a',
  target: 'b',
  outcome: 'committed',
  atMs: 1000,
  begunAtMs: 1000,
  clientPort: 1,
};

/** A run whose endpoint a had these samples, and b was idle. */
function runOf(ratios: number[], moves: RunMove[] = [], mode: PredictRun['mode'] = 'predictive'): PredictRun {
  const traffic = createTraffic({ pattern: 'ramp', seed: 1, cpuShare: 0.2, endpoints });
  return {
    startMs: 0,
    mode,
    seed: 1,
    traffic: { ...traffic, clients: [], scoredFromMs: 0, lengthMs: ratios.length * lengthMs },
    statements: { list: [], fellBackAtMs: undefined },
    samples: new Map([
      ['a', samplesOf(...ratios)],
      ['b', samplesOf(...ratios.map(() => 0.1))],
    ]),
    moves,
    clients: [],
  };
}

describe('traffic', () => {
  it.each(['ramp', 'wave', 'flash', 'notice'] as const)(
    'of %s is the same for the same seed, and another for another',
    (pattern) => {
      const of = (seed: number): unknown => createTraffic({ pattern, seed, cpuShare: 0.2, endpoints });
      expect(of(3)).toEqual(of(3));
      expect(of(3)).not.toEqual(of(4));
    },
  );

  it.each(['ramp', 'wave', 'flash'] as const)(
    'of %s goes over the limit of its endpoint, and only of that',
    (pattern) => {
      const traffic = createTraffic({ pattern, seed: 5, cpuShare: 0.2, endpoints });
      const perSec = (home: string, atMs: number): number =>
        traffic.clients
          .filter((c) => c.home === home && c.pace.openAtMs <= atMs && (c.pace.closeAtMs ?? Infinity) > atMs)
          .reduce((sum, c) => sum + rateAt(c.pace.rate, atMs), 0);
      const fullPerSec = 200;
      const highest = (home: string): number =>
        Math.max(...Array.from({ length: traffic.lengthMs / 500 }, (_, i) => perSec(home, i * 500)));
      expect(highest(loadedEndpoint)).toBeGreaterThan(1.1 * fullPerSec);
      expect(highest('b')).toBeLessThan(0.5 * fullPerSec);
    },
  );

  it('rates go straight from corner to corner', () => {
    const corners = [
      [1000, 10],
      [2000, 20],
    ] as const;
    expect([0, 1000, 1500, 2000, 9000].map((atMs) => rateAt(corners, atMs))).toEqual([10, 10, 15, 20, 20]);
  });
});

describe('overload', () => {
  it('counts samples at the limit between two instants', () => {
    const samples = samplesOf(0.5, 0.96, 1, 0.94, 0.99);
    expect(overloadSeconds(samples, 0, 10_000)).toBe(0.75);
    expect(overloadSeconds(samples, 500, 1000)).toBe(0.25);
  });

  it('is a disturbance when it lasts, not when it flickers', () => {
    expect(isDisturbed(samplesOf(1, 1, 1, 0.9, 1, 1, 1), 0, 10_000, 950)).toBe(false);
    expect(isDisturbed(samplesOf(0.5, 1, 1, 1, 1), 0, 10_000, 950)).toBe(true);
    expect(isDisturbed(samplesOf(0.5, 1, 1, 1, 1), 600, 10_000, 950)).toBe(false);
  });
});

describe('moves are of no use', () => {
  const calm = Array.from({ length: 40 }, () => 0.5);
  const loaded = calm.map((ratio, i) => (i > 15 ? 1 : ratio));

  it('when their endpoint would not have come to its limit', () => {
    const run = runOf(calm, [moved]);
    expect(judgeMoves(run, runOf(calm, [], 'none'))).toMatchObject({ needless: 1 });
    expect(judgeMoves(run, runOf(loaded, [], 'none'))).toEqual({ ended: 0, again: 0, needless: 0 });
  });

  it('when the session is moved on soon from an endpoint that is well', () => {
    const again = { ...moved, source: 'b', target: 'c', atMs: 4000 };
    const run = runOf(calm, [moved, again]);
    expect(judgeMoves(run, runOf(loaded, [], 'none'))).toMatchObject({ again: 1 });
  });

  it('but what was reverted is not a move', () => {
    const run = runOf(calm, [{ ...moved, outcome: 'reverted' }]);
    expect(judgeMoves(run, runOf(calm, [], 'none'))).toEqual({ ended: 0, again: 0, needless: 0 });
    expect(figuresOf(run, undefined)).toMatchObject({ moves: 0, reverted: 1 });
  });
});

describe('figures', () => {
  it('compare modes pairwise by seed, with an interval of measured values', () => {
    const figures = (seed: number, overload: number) => ({
      ...figuresOf(runOf([0.1]), undefined),
      seed,
      overloadSeconds: overload,
    });
    const report = createPredictReport(
      'ramp',
      new Map([
        ['reactive', [4, 5, 6].map((overload, i) => figures(i, overload))],
        ['predictive', [1, 1, 3].map((overload, i) => figures(i, overload))],
      ]),
      [],
    );
    expect(report.ratios.reactive).toMatchObject({ median: 0.25, low: 0.2, high: 0.5, pairs: 3 });
    expect(report.bestEarly).toBeNull();
  });

  it('know how sure a median is', () => {
    expect(medianInterval([5, 1, 4, 2, 3])).toMatchObject({ median: 3, low: 1, high: 5, coverage: 0.9375 });
    const many = Array.from({ length: 20 }, (_, i) => i);
    expect(medianInterval(many)).toMatchObject({ median: 9.5, low: 5, high: 14 });
    expect(medianInterval([])).toBeUndefined();
    expect([ratioOf(0, 0), ratioOf(1, 0), ratioOf(1, 4)]).toEqual([1, Infinity, 0.25]);
  });

  it('tell honest scores from boastful ones', () => {
    const outcomes = (score: number): Array<{ score: number; stayedUndisturbed: boolean; weight: number }> =>
      Array.from({ length: 10 }, (_, i) => ({ score, stayedUndisturbed: i < 8, weight: 2 }));
    expect(calibrate(outcomes(0.8))?.error).toBeCloseTo(0, 9);
    expect(calibrate(outcomes(0.99))?.error).toBeCloseTo(0.19, 9);
    expect(calibrate([])).toBeUndefined();
  });

  it('are drawn as a picture of each mode', () => {
    const svg = plotRuns('ramp', [runOf([0.5, 1, 1]), runOf([0.5, 0.6], [moved], 'none')]);
    expect(svg.match(/class="limit"/g)).toHaveLength(2);
    expect(svg).toContain('predictive: 0 moves');
    expect(svg).not.toContain('NaN');
  });
});

it('modes are read from a list, reactive-early as its three triggers', () => {
  expect(parseModes('none,reactive-early,none')).toEqual(['none', 'early-60', 'early-70', 'early-80']);
  expect(() => parseModes('sometimes')).toThrow(/expected some of/);
});
