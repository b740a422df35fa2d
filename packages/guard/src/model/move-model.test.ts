import { describe, expect, it } from 'vitest';
import { explore } from './explore.js';
import { createMoveModel, type PlantedMoveBug } from './move-model.js';

const situations = [
  'a tail taken over from the target',
  'an end after a revert',
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
  it.each([
    ['two bytes, and applications that end their output', { bytes: 2, ends: 1 }],
    ['one byte, and applications that are through', { bytes: 1, ends: 2 }],
  ])(
    'with %s: nothing is lost, contradicted or left to nobody, and never may two emit',
    (_what, size) => {
      const found = explore(createMoveModel(size));
      console.info(`explored ${found.states} states, ${found.transitions} transitions`);
      expect(found.isComplete).toBe(true);
      expect(Object.fromEntries(found.broken)).toEqual({});
      const tails = size.ends === 2 ? ['a tail delivered by the target'] : [];
      expect([...found.seen].sort()).toEqual([...tails, ...situations]);
      expect(found.states).toBeGreaterThan(100_000);
    },
    300_000,
  );

  it.each<[PlantedMoveBug, string]>([
    ['switch-before-the-target-is-protected', 'a session is lost though nobody but its owner died'],
    ['frozen-source-emits', 'two may emit'],
    ['old-replica-taken-for-the-new', 'an emitted byte is contradicted'],
    ['buddy-forgets-at-the-freeze', 'a session is lost though nobody but its owner died'],
    ['take-over-without-compare', 'two may emit'],
    ['revert-without-compare', 'two may emit'],
    ['target-opens-its-gate-with-the-image', 'an acknowledged byte is on one machine alone'],
    ['image-without-the-end', 'a FIN is contradicted'],
    ['buddy-of-the-target-without-the-end', 'a FIN is contradicted'],
    ['tail-waits-for-an-application', 'nobody delivers it'],
    ['replica-forgotten-at-the-close', 'a session is lost though nobody but its owner died'],
    ['source-lets-its-resets-pass', 'the session is reset by its source'],
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
