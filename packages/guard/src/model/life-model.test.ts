import { describe, expect, it } from 'vitest';
import { explore } from './explore.js';
import { createLifeModel, type LifeModelOptions, type PlantedLifeBug } from './life-model.js';

const always = [
  'accept queue reset (host down)',
  'accept queue reset (host up)',
  'client ended first',
  'over',
  'over after the death',
  'server ended first',
];
const ofSuccessors = [
  'over at the successor',
  'owner and buddy died together',
  'successor of an ended session',
  'tail at the successor',
  'taken over from a living owner',
  'taken over from a stopped owner',
];
const situations = {
  none: [...always, 'finished by the kernel'],
  periodic: [...always, ...ofSuccessors, 'finished by the kernel'],
  commit: [...always, ...ofSuccessors],
};

describe('the life of a connection, all interleavings of its two ends and of deaths', () => {
  it.each<LifeModelOptions>([
    { level: 'none', handshake: true },
    { level: 'none', input: 2, output: 2 },
    { level: 'periodic', handshake: true },
    { level: 'periodic', input: 2 },
    { level: 'commit', handshake: true },
    { level: 'commit', input: 2, urgentAt: 0 },
    { level: 'commit', input: 2, urgentAt: 1 },
    { level: 'commit', output: 2 },
  ])(
    '%j: no early end, nothing acknowledged lost, nothing sent contradicted, and nobody is left waiting',
    (options) => {
      const found = explore(createLifeModel(options));
      console.info(
        `${JSON.stringify(options)}: explored ${found.states} states, ${found.transitions} transitions`,
      );
      expect(found.isComplete).toBe(true);
      expect(Object.fromEntries(found.broken)).toEqual({});
      const steered = options.handshake === true ? ['steered anew'] : [];
      expect([...found.seen].sort()).toEqual([...situations[options.level], ...steered].sort());
      expect(found.states).toBeGreaterThan(10_000);
    },
    300_000,
  );

  it.each<[PlantedLifeBug, LifeModelOptions, string]>([
    ['fin-guard-lifted-by-the-end', { level: 'commit' }, 'a clean end before the last byte'],
    ['end-opens-the-gate', { level: 'commit' }, 'an acknowledged byte is nowhere'],
    ['end-promised-before-its-commit', { level: 'commit' }, 'a FIN is contradicted'],
    ['end-promised-before-its-commit', { level: 'periodic' }, 'two may emit'],
    [
      'end-promised-before-its-bytes-are-in-the-socket',
      { level: 'none' },
      'neither served nor ended nor reset',
    ],
    ['end-promised-without-a-lease', { level: 'periodic' }, 'two may emit'],
    ['replica-without-the-end', { level: 'commit' }, 'a FIN is contradicted'],
    ['replica-forgotten-at-the-close', { level: 'commit' }, 'a session is lost though its buddy lives'],
    ['urgent-byte-not-counted', { level: 'commit', urgentAt: 0 }, 'neither served nor ended nor reset'],
    ['accept-queue-reset-dropped', { level: 'commit' }, 'neither served nor ended nor reset'],
    ['accept-queue-reset-dropped', { level: 'periodic' }, 'neither served nor ended nor reset'],
    ['accept-queue-of-a-dead-host-forgotten', { level: 'commit' }, 'neither served nor ended nor reset'],
    [
      'half-open-affinity-to-the-dead',
      { level: 'none', handshake: true },
      'neither served nor ended nor reset',
    ],
    ['successor-has-not-sent-the-fin', { level: 'commit' }, 'neither served nor ended nor reset'],
    ['ended-session-reset-at-the-death', { level: 'none' }, 'a tail is cut that its kernel delivers'],
    ['ended-session-reset-at-the-death', { level: 'periodic' }, 'a tail is cut that its kernel delivers'],
  ])(
    'finds the planted mistake %s, %j: %s',
    (bug, options, invariant) => {
      const found = explore(createLifeModel({ ...options, bugs: [bug] }));
      expect([...found.broken.keys()]).toContain(invariant);
      expect(found.broken.get(invariant)?.length).toBeGreaterThan(0);
    },
    300_000,
  );
});
