import { describe, expect, it } from 'vitest';
import { OwnModelScorer } from './own-model.js';

describe('an own model', () => {
  it('scores from the step after it answered, until the answer is too old', async () => {
    const scorer = new OwnModelScorer({ score: async () => Float64Array.of(0.5, 0.9) }, 2, 3);
    expect(scorer.score({ series: 0 })).toBeUndefined();
    await scorer.request(new Float32Array(6));
    expect(scorer.score({ series: 0 })).toBeCloseTo(0, 12);
    expect(scorer.score({ series: 1 })).toBeCloseTo(Math.log(9), 9);
    let open: (answer: Float64Array) => void = () => undefined;
    const slow = new OwnModelScorer({ score: () => new Promise((resolve) => (open = resolve)) }, 1, 1);
    const first = slow.request(new Float32Array(1));
    for (let i = 0; i < 4; i++) void slow.request(new Float32Array(1));
    open(Float64Array.of(0.5));
    await first;
    expect(slow.score({ series: 0 })).toBeUndefined();
  });

  it('that fails or answers nonsense leaves the built-in score in place', async () => {
    const failing = new OwnModelScorer({ score: () => Promise.reject(new Error('no runtime')) }, 1, 1);
    await failing.request(new Float32Array(1));
    expect(failing.score({ series: 0 })).toBeUndefined();
    expect(failing.failure).toBe('no runtime');
    const nonsense = new OwnModelScorer({ score: async () => Float64Array.of(7, Number.NaN) }, 2, 1);
    await nonsense.request(new Float32Array(2));
    expect(nonsense.score({ series: 0 })).toBeUndefined();
    expect(nonsense.score({ series: 1 })).toBeUndefined();
    const short = new OwnModelScorer({ score: async () => Float64Array.of(0.5) }, 2, 1);
    await short.request(new Float32Array(2));
    expect(short.failure).toBe('1 scores for 2 rows');
  });
});
