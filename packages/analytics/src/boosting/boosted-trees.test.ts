import { describe, expect, it } from 'vitest';
import { createRandom } from '../seeded-random.js';
import { DEFAULT_BOOST, predictBoosted, sigmoid, trainBoostedTrees } from './boosted-trees.js';
import { selectQuantile, selectRank } from './select.js';

function makeRows(count: number, columns: number, seed: number): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length: count * columns }, () => random());
}

describe('boosted trees', () => {
  it('learn a step and an interaction far better than a constant', () => {
    const rows = makeRows(2_000, 4, 1);
    const truth = (x: Float32Array, i: number) =>
      (x[i * 4]! > 0.5 ? 3 : 0) + (x[i * 4 + 1]! > 0.3 && x[i * 4 + 2]! > 0.6 ? 2 : 0);
    const targets = Float64Array.from({ length: 2_000 }, (_, i) => truth(rows, i));
    const model = trainBoostedTrees(rows, 4, targets, { ...DEFAULT_BOOST, columnRatio: 1 }, createRandom(2));
    const fresh = makeRows(500, 4, 3);
    let error = 0;
    let constant = 0;
    for (let i = 0; i < 500; i++) {
      error += Math.abs(predictBoosted(model, fresh, i * 4) - truth(fresh, i));
      constant += Math.abs(3 - truth(fresh, i));
    }
    expect(error / constant).toBeLessThan(0.25);
  });

  it('estimate the asked-for quantile', () => {
    const rows = makeRows(4_000, 2, 4);
    const noise = createRandom(5);
    const targets = Float64Array.from({ length: 4_000 }, (_, i) => rows[i * 2]! + noise());
    const model = trainBoostedTrees(
      rows,
      2,
      targets,
      { ...DEFAULT_BOOST, loss: { kind: 'quantile', ratio: 0.9 } },
      createRandom(6),
    );
    let below = 0;
    for (let i = 0; i < 4_000; i++) if (targets[i]! <= predictBoosted(model, rows, i * 2)) below++;
    expect(below / 4_000).toBeGreaterThan(0.87);
    expect(below / 4_000).toBeLessThan(0.93);
  });

  it('give probabilities near the true ones with logistic loss', () => {
    const rows = makeRows(5_000, 3, 7);
    const coin = createRandom(8);
    const truth = (x: number) => (x > 0.7 ? 0.8 : 0.1);
    const targets = Float64Array.from({ length: 5_000 }, (_, i) => (coin() < truth(rows[i * 3]!) ? 1 : 0));
    const model = trainBoostedTrees(
      rows,
      3,
      targets,
      { ...DEFAULT_BOOST, loss: { kind: 'logistic' }, learningRate: 0.05, trees: 60 },
      createRandom(9),
    );
    const low = sigmoid(predictBoosted(model, Float32Array.of(0.3, 0.5, 0.5)));
    const high = sigmoid(predictBoosted(model, Float32Array.of(0.9, 0.5, 0.5)));
    expect(low).toBeGreaterThan(0.03);
    expect(low).toBeLessThan(0.2);
    expect(high).toBeGreaterThan(0.65);
    expect(high).toBeLessThan(0.92);
  });

  it('ignore rows whose target is not known yet and survive missing features', () => {
    const rows = makeRows(600, 2, 10);
    for (let i = 0; i < 600; i += 5) rows[i * 2] = Number.NaN;
    const targets = Float64Array.from({ length: 600 }, (_, i) => (i < 300 ? rows[i * 2 + 1]! : Number.NaN));
    const model = trainBoostedTrees(rows, 2, targets, DEFAULT_BOOST, createRandom(11));
    expect(Math.abs(predictBoosted(model, Float32Array.of(Number.NaN, 0.8)) - 0.8)).toBeLessThan(0.15);
  });

  it('are the same for the same seed', () => {
    const rows = makeRows(500, 3, 12);
    const targets = Float64Array.from({ length: 500 }, (_, i) => rows[i * 3]! * 2);
    const a = trainBoostedTrees(rows, 3, targets, DEFAULT_BOOST, createRandom(13));
    const b = trainBoostedTrees(rows, 3, targets, DEFAULT_BOOST, createRandom(13));
    expect(a).toEqual(b);
  });
});

describe('selection', () => {
  it('finds every rank of random values with ties', () => {
    const random = createRandom(14);
    const values = Float64Array.from({ length: 101 }, () => Math.floor(random() * 20));
    const sorted = Float64Array.from(values).sort();
    for (let rank = 0; rank < 101; rank++)
      expect(selectRank(Float64Array.from(values), 101, rank)).toBe(sorted[rank]);
    expect(selectQuantile(new Float64Array(4), 0, 0.5)).toBe(0);
  });
});
