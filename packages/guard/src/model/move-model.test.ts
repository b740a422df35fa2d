import { describe, expect, it } from 'vitest';
import { explore } from './explore.js';
import { createMoveModel, type PlantedMoveBug } from './move-model.js';

const situations = [
  'answered by the target',
  'moved away from a dead source',
  'served by the target',
  'served on by the source',
  'taken over from a living target',
  'taken over from the target',
  'taken over in the middle of the move',
  'the take-over was faster than the move',
];

describe('all interleavings of a planned move, deaths and take-overs', () => {
  it('no session is lost, no acknowledged byte on one machine alone, no emitted byte contradicted, never may two emit', () => {
    const found = explore(createMoveModel({ bytes: 2 }));
    console.info(`explored ${found.states} states, ${found.transitions} transitions`);
    expect(found.isComplete).toBe(true);
    expect(Object.fromEntries(found.broken)).toEqual({});
    expect([...found.seen].sort()).toEqual(situations);
    expect(found.states).toBeGreaterThan(10_000);
  }, 300_000);

  it.each<[PlantedMoveBug, string]>([
    ['switch-before-the-target-is-protected', 'a session is lost though nobody but its owner died'],
    ['frozen-source-emits', 'two may emit'],
    ['old-replica-taken-for-the-new', 'an emitted byte is contradicted'],
    ['buddy-forgets-at-the-freeze', 'a session is lost though nobody but its owner died'],
    ['take-over-without-compare', 'two may emit'],
    ['revert-without-compare', 'two may emit'],
    ['target-opens-its-gate-with-the-image', 'an acknowledged byte is on one machine alone'],
  ])(
    'finds the planted mistake %s: %s',
    (bug, invariant) => {
      const found = explore(createMoveModel({ bugs: [bug], bytes: 1 }));
      expect([...found.broken.keys()]).toContain(invariant);
      expect(found.broken.get(invariant)?.length).toBeGreaterThan(2);
    },
    300_000,
  );
});
