import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BuddyCandidate, chooseBuddy, rankBuddies } from './buddy-choice.js';

const named = (n: number): BuddyCandidate[] => Array.from({ length: n }, (_, i) => ({ name: `e${i}` }));
const sessions = Array.from({ length: 4000 }, (_, i) => `session-${i}`);

const fleet = fc
  .uniqueArray(fc.stringMatching(/^[a-z]{1,6}$/), { minLength: 1, maxLength: 8 })
  .chain((names) =>
    fc.tuple(
      ...names.map((name) =>
        fc.record({
          name: fc.constant(name),
          labels: fc.record({ zone: fc.constantFrom('x', 'y'), rack: fc.constantFrom('1', '2') }),
        }),
      ),
    ),
  );

describe('the choice of a buddy', () => {
  it('never falls on the owner, is the same for any order, and is none only where nobody else is', () => {
    fc.assert(
      fc.property(fleet, fc.string(), fc.nat(), (all, sessionId, pick) => {
        const owner = all[pick % all.length] as BuddyCandidate;
        const query = { sessionId, owner, domains: ['zone', 'rack'] };
        const chosen = chooseBuddy(query, all);
        expect(chosen).not.toBe(owner.name);
        expect(chosen === undefined).toBe(all.length === 1);
        expect(chooseBuddy(query, [...all].reverse())).toBe(chosen);
      }),
    );
  });

  it('shares no wider failure domain than it must', () => {
    fc.assert(
      fc.property(fleet, fc.string(), (all, sessionId) => {
        const owner = all[0] as BuddyCandidate;
        const shared = (c: BuddyCandidate): number =>
          (c.labels?.zone === owner.labels?.zone ? 2 : 0) + (c.labels?.rack === owner.labels?.rack ? 1 : 0);
        const chosen = all.find(
          (c) => c.name === chooseBuddy({ sessionId, owner, domains: ['zone', 'rack'] }, all),
        );
        const best = Math.min(...all.slice(1).map(shared));
        if (chosen !== undefined) expect(shared(chosen)).toBe(best);
      }),
    );
  });

  it('changes only for the sessions of a buddy that left, and for those a new one wins', () => {
    fc.assert(
      fc.property(fleet, fc.nat(), (all, pick) => {
        const [owner, ...others] = all as BuddyCandidate[] as [BuddyCandidate, ...BuddyCandidate[]];
        const gone = others[pick % Math.max(others.length, 1)];
        if (gone === undefined) return;
        for (const sessionId of sessions.slice(0, 50)) {
          const before = chooseBuddy({ sessionId, owner }, all);
          const after = chooseBuddy(
            { sessionId, owner },
            all.filter((c) => c !== gone),
          );
          if (before !== gone.name) expect(after).toBe(before);
        }
      }),
    );
  });

  it('spreads the sessions of one owner over all the others, by weight', () => {
    const all = [...named(4), { name: 'double', weight: 2 }, { name: 'closed', weight: 0 }];
    const owner = all[0] as BuddyCandidate;
    const counts = new Map<string, number>();
    for (const sessionId of sessions) {
      const buddy = chooseBuddy({ sessionId, owner }, all) ?? '';
      counts.set(buddy, (counts.get(buddy) ?? 0) + 1);
    }
    const share = (name: string): number => (counts.get(name) ?? 0) / sessions.length;
    for (const name of ['e1', 'e2', 'e3']) expect(share(name)).toBeCloseTo(0.2, 1);
    expect(share('double')).toBeCloseTo(0.4, 1);
    expect(share('closed')).toBe(0);
  });

  it('ranks everybody but the owner', () => {
    const all = named(4);
    expect(rankBuddies({ sessionId: 'x', owner: all[0] as BuddyCandidate }, all)).toHaveLength(3);
  });
});
