import { describe, expect, it } from 'vitest';
import { createRandom } from '../seeded-random.js';
import { ClientHistory } from './client-history.js';

describe('client history', () => {
  it('knows that one prefix is brief and another stays', () => {
    const random = createRandom(1);
    const history = new ClientHistory();
    for (let i = 0; i < 300; i++) {
      history.sessionEnded('brief', 2 + 4 * random());
      history.sessionEnded('long', 2_000 + 4_000 * random());
    }
    expect(history.expectedRemainingS('brief', 0)).toBeLessThan(400);
    expect(history.expectedRemainingS('long', 0)).toBeGreaterThan(2_500);
    expect(history.expectedRemainingS('long', 1_500)).toBeGreaterThan(1_000);
    expect(history.expectedRemainingS('brief', 20)).toBeGreaterThan(500);
  });

  it('borrows from all for an unknown prefix, and expects what lasted to last', () => {
    const history = new ClientHistory();
    expect(history.expectedRemainingS('new', 0)).toBe(60);
    expect(history.expectedRemainingS('new', 5_000)).toBe(5_000);
    for (let i = 0; i < 50; i++) history.sessionEnded('other', 100);
    expect(history.expectedRemainingS('new', 0)).toBeCloseTo(100, 6);
    expect(history.expectedRemainingS('new', 400)).toBe(400);
  });

  it('is bounded, erasable, and ignores lives that cannot be', () => {
    const history = new ClientHistory(3);
    for (const prefix of ['a', 'b', 'c', 'd']) history.sessionEnded(prefix, 10);
    history.sessionEnded('x', Number.NaN);
    history.sessionEnded('x', -1);
    expect(history.size).toBe(3);
    expect(history.erase('d')).toBe(true);
    expect(history.erase('a')).toBe(false);
    expect(history.size).toBe(2);
  });

  it('survives storing, and refuses what it did not store', () => {
    const history = new ClientHistory();
    history.sessionEnded('a', 123);
    history.demandSeen('a', 5, 10, 1_000);
    const back = ClientHistory.restore(JSON.parse(JSON.stringify(history.store())));
    expect(back?.expectedRemainingS('a', 0)).toBe(history.expectedRemainingS('a', 0));
    expect(back?.usualRequests('a', 5)).toBeCloseTo(0.5, 9);
    expect(ClientHistory.restore({ version: 2, prefixes: [] })).toBeUndefined();
    expect(ClientHistory.restore({ version: 1, prefixes: [['a', [1, 2]]] })).toBeUndefined();
    expect(ClientHistory.restore('broken')).toBeUndefined();
  });
});
