import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClientResets } from './client-resets.js';

describe('resets of clients', () => {
  it('are unknown before there is something to learn from, then the rate a second of life', () => {
    const resets = new ClientResets();
    expect(resets.risk('p', 0, 30)).toBeNaN();
    for (let i = 0; i < 19; i++) resets.ended('p', 10 + 10 * i, true);
    expect(resets.risk('p', 0, 30)).toBeNaN();
    for (let i = 0; i < 400; i++) {
      const lifeS = 200 * ((i * 0.618) % 1) + 0.1;
      resets.ended('p', lifeS, i % 10 === 0);
      resets.ended('calm', lifeS, false);
    }
    // One reset in 1,000 s of life; the calm prefix leans a little on what everybody does.
    expect(resets.risk('p', 40, 30)).toBeGreaterThan(0.01);
    expect(resets.risk('p', 40, 30)).toBeLessThan(0.06);
    expect(resets.risk('calm', 40, 30)).toBeLessThan(0.005);
    expect(resets.risk('p', 40, 60)).toBeGreaterThan(resets.risk('p', 40, 30));
  });

  it('count the life of open sessions', () => {
    const busy = new ClientResets();
    const lonely = new ClientResets();
    for (let i = 0; i < 40; i++) {
      for (const resets of [busy, lonely]) resets.ended('p', 100, i % 2 === 0);
      // Nine others of that age go on.
      for (let other = 0; other < 9; other++) busy.lived('p', 100, 36);
    }
    expect(busy.risk('p', 70, 20)).toBeLessThan(0.3 * lonely.risk('p', 70, 20));
  });

  it('of connections that live for milliseconds say nothing of a session that is minutes old', () => {
    const resets = new ClientResets();
    for (let second = 1; second <= 600; second++) {
      for (let i = 0; i < 20; i++) resets.ended('nat', 0.03, true);
      resets.lived('nat', second, 1);
    }
    expect(resets.risk('nat', 0, 0.03)).toBeGreaterThan(0.5);
    expect(resets.risk('nat', 600, 30)).toBeLessThan(0.01);
  });

  it('forgets what is erased, and the oldest when there are too many', () => {
    const resets = new ClientResets(2);
    for (const prefix of ['a', 'b', 'c']) for (let i = 0; i < 40; i++) resets.ended(prefix, 10, true);
    expect(resets.risk('a', 9, 1)).toBeNaN();
    expect(resets.risk('b', 9, 1)).toBeGreaterThan(0);
    resets.erase('b');
    expect(resets.risk('b', 9, 1)).toBeNaN();
    resets.ended('c', Number.NaN, true);
    resets.ended('c', -1, true);
    expect(resets.risk('c', 9, 1)).toBeLessThan(1);
  });

  it('are a probability that grows with the horizon (property)', () => {
    const lifeS = fc.double({ min: 0, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(fc.array(fc.tuple(lifeS, fc.boolean()), { minLength: 25 }), lifeS, (endings, ageS) => {
        const resets = new ClientResets();
        for (const [life, isReset] of endings) resets.ended('p', life, isReset);
        const risks = [1, 10, 100, 1e6].map((horizonS) => resets.risk('p', ageS, horizonS));
        if (risks.some(Number.isNaN)) return;
        for (const risk of risks) expect(risk >= 0 && risk <= 1).toBe(true);
        expect(risks).toEqual([...risks].sort((a, b) => a - b));
      }),
    );
  });
});
