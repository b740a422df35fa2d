import { describe, expect, it } from 'vitest';
import { ClientResets } from './client-resets.js';

describe('resets of clients', () => {
  it('are unknown before there is something to learn from, then the rate a second of life', () => {
    const resets = new ClientResets();
    expect(resets.risk('p', 30)).toBeNaN();
    for (let i = 0; i < 19; i++) resets.ended('p', 100, true);
    expect(resets.risk('p', 30)).toBeNaN();
    for (let i = 0; i < 200; i++) {
      resets.ended('p', 100, i % 10 === 0);
      resets.ended('calm', 100, false);
    }
    // One reset in 1,000 s of life; the calm prefix leans a little on what everybody does.
    expect(resets.risk('p', 30)).toBeGreaterThan(0.02);
    expect(resets.risk('p', 30)).toBeLessThan(0.06);
    expect(resets.risk('calm', 30)).toBeLessThan(0.003);
    expect(resets.risk('p', 60)).toBeGreaterThan(resets.risk('p', 30));
  });

  it('forgets what is erased, and the oldest when there are too many', () => {
    const resets = new ClientResets(2);
    for (const prefix of ['a', 'b', 'c']) for (let i = 0; i < 40; i++) resets.ended(prefix, 10, true);
    expect(resets.risk('a', 1)).toBeNaN();
    expect(resets.risk('b', 1)).toBeGreaterThan(0);
    resets.erase('b');
    expect(resets.risk('b', 1)).toBeNaN();
    resets.ended('c', Number.NaN, true);
    resets.ended('c', -1, true);
    expect(resets.risk('c', 1)).toBeLessThan(1);
  });
});
