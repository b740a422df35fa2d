import { describe, expect, it } from 'vitest';
import { OwnScores } from './own-model.js';

describe('scores of an own model', () => {
  it('count from when they came until they are too old', () => {
    const scores = new OwnScores(2);
    scores.next();
    expect(scores.score({ series: 0 })).toBeUndefined();
    scores.give([0.5, 0.9]);
    scores.next();
    expect(scores.score({ series: 0 })).toBeCloseTo(0, 12);
    expect(scores.score({ series: 1 })).toBeCloseTo(Math.log(9), 9);
    for (let i = 0; i < 3; i++) scores.next();
    expect(scores.score({ series: 0 })).toBeUndefined();
  });

  it('that cannot be leave their series to the bands', () => {
    const scores = new OwnScores(5);
    scores.give([7, Number.NaN, null, -0.1]);
    for (let series = 0; series < 5; series++) expect(scores.score({ series })).toBeUndefined();
    scores.give([0, 1]);
    expect(scores.score({ series: 0 })).toBeLessThan(-10);
    expect(scores.score({ series: 1 })).toBeGreaterThan(10);
  });
});
