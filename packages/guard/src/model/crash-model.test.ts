import { describe, expect, it } from 'vitest';
import { createCrashModel, type PlantedBug } from './crash-model.js';
import { explore } from './explore.js';

const situations = [
  'answered otherwise after a crash',
  'served on by the buddy',
  'taken over after an acknowledgement',
  'taken over from a living owner',
  'taken over from a stopped owner',
  'uncommitted work given up',
];

describe('all interleavings of commit, gate, lease and take-over', () => {
  it('with two bytes: no acknowledged byte is nowhere, no emitted byte contradicted, never may two emit', () => {
    const found = explore(createCrashModel({ bytes: 2 }));
    console.info(`explored ${found.states} states, ${found.transitions} transitions`);
    expect(found.isComplete).toBe(true);
    expect(Object.fromEntries(found.broken)).toEqual({});
    expect([...found.seen].sort()).toEqual(situations);
    expect(found.states).toBeGreaterThan(50_000);
  }, 300_000);

  it('with a machine whose clock stops too: it may repeat committed bytes, never contradict them', () => {
    const found = explore(createCrashModel({ bytes: 1, canPause: true }));
    expect(found.isComplete).toBe(true);
    expect([...found.broken.keys()]).toEqual(['two may emit']);
  }, 300_000);

  it.each<[PlantedBug, string, boolean?]>([
    ['ack-before-commit', 'an acknowledged byte is nowhere'],
    ['output-before-commit', 'an emitted byte is contradicted'],
    ['lease-ignored-at-take-over', 'two may emit'],
    ['lease-counted-from-receipt', 'two may emit'],
    ['grant-not-remembered', 'two may emit'],
    ['retransmission-outside-the-lease', 'two may emit'],
    ['buddy-accepts-old-epoch', 'an emitted byte is contradicted', true],
    ['buddy-accepts-gap', 'an acknowledged byte is nowhere'],
    ['no-guard', 'the client sees the death'],
  ])(
    'finds the planted mistake %s: %s',
    (bug, invariant, canPause = false) => {
      const bytes = bug === 'buddy-accepts-gap' ? 2 : 1;
      const found = explore(createCrashModel({ bugs: [bug], bytes, canPause }));
      expect([...found.broken.keys()]).toContain(invariant);
      expect(found.broken.get(invariant)?.length).toBeGreaterThan(2);
    },
    300_000,
  );
});
