import { describe, expect, it } from 'vitest';
import { lifeKinds } from './life-kinds.js';
import { closings, planLife, tailRange } from './life-plan.js';

const plans = (seed: number): ReturnType<typeof planLife>[] =>
  Array.from({ length: 400 }, (_, turn) => planLife('slow-reader', 'p0', turn, seed));

describe('planLife', () => {
  it('is repeated by its seed, and differs with seed, client and connection', () => {
    expect(plans(5)).toEqual(plans(5));
    expect(plans(5)).not.toEqual(plans(6));
    expect(planLife('urgent', 'p0', 0, 1)).not.toEqual(planLife('urgent', 'p1', 0, 1));
    expect(planLife('urgent', 'p0', 0, 1)).not.toEqual(planLife('urgent', 'p0', 1, 1));
  });

  it('draws tails of every size from 1 KB to 4 MB, and every closing', () => {
    const all = plans(1);
    const share = (isIn: (bytes: number) => boolean): number =>
      all.filter(({ tailBytes }) => isIn(tailBytes)).length / all.length;
    expect(share((bytes) => bytes < tailRange.least || bytes > tailRange.most)).toBe(0);
    // One of twelve doublings each, were it exact.
    for (let from: number = tailRange.least; from < tailRange.most; from *= 4)
      expect(share((bytes) => bytes >= from && bytes <= from * 4)).toBeGreaterThan(0.08);
    expect(new Set(all.map((plan) => plan.closing))).toEqual(new Set(closings));
  });

  it.each(lifeKinds)('has more for the client than its kernel takes, kind %s', (kind) => {
    for (let turn = 0; turn < 50; turn++) {
      const { totalBytes, tailBytes, receiveBufferBytes } = planLife(kind, 'p0', turn, 1);
      expect(totalBytes).toBeGreaterThan(tailBytes + (receiveBufferBytes ?? 100_000));
    }
  });
});
