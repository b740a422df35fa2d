import { describe, expect, it } from 'vitest';
import { VerdictList } from './verdict-list.js';

const part = (generation: number, sessions: readonly string[], complete = true) => ({
  generation,
  expiresInMs: 3000,
  verdicts: sessions.map((session) => ({ session, target: 'b' })),
  complete,
});

describe('verdict list', () => {
  it('says where to, until it expires; expired means stay', () => {
    const list = new VerdictList();
    expect(list.targetOf('s1', 0)).toBeUndefined();
    list.push(part(1, ['s1']), 1000);
    expect(list.targetOf('s1', 3999)).toBe('b');
    expect(list.targetOf('s2', 3999)).toBeUndefined();
    expect(list.targetOf('s1', 4000)).toBeUndefined();
  });

  it('a new generation is the whole truth, an old one is ignored', () => {
    const list = new VerdictList();
    list.push(part(5, ['s1']), 0);
    expect(list.push(part(4, ['s2']), 0)).toBe(false);
    list.push(part(6, ['s3']), 0);
    expect(['s1', 's2', 's3'].map((s) => list.targetOf(s, 1))).toEqual([undefined, undefined, 'b']);
  });

  it('a list in parts counts when it is complete', () => {
    const list = new VerdictList();
    list.push(part(1, ['s0']), 0);
    list.push(part(2, ['s1'], false), 0);
    expect(list.targetOf('s0', 1)).toBe('b');
    expect(list.targetOf('s1', 1)).toBeUndefined();
    list.push(part(2, ['s2']), 0);
    expect(['s0', 's1', 's2'].map((s) => list.targetOf(s, 1))).toEqual([undefined, 'b', 'b']);
  });

  it('forgets what was done, and everything with the connection', () => {
    const list = new VerdictList();
    list.push(part(9, ['s1', 's2']), 0);
    list.clear('s1');
    expect(list.targetOf('s1', 1)).toBeUndefined();
    list.reset();
    expect(list.targetOf('s2', 1)).toBeUndefined();
    expect(list.push(part(1, ['s1']), 0)).toBe(true);
  });
});
