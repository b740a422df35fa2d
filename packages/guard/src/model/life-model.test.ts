import { describe, expect, it } from 'vitest';
import { explore } from './explore.js';
import { createLifeModel, type LifeModelOptions, type PlantedLifeBug } from './life-model.js';
it.each<[PlantedLifeBug, LifeModelOptions]>([
  ['fin-guard-lifted-by-the-end', { level: 'commit' }],
  ['fin-guard-lifted-by-the-end', { level: 'none' }],
  ['end-opens-the-gate', { level: 'commit' }],
  ['end-promised-before-its-commit', { level: 'commit' }],
  ['end-promised-before-its-commit', { level: 'periodic' }],
  ['replica-forgotten-at-the-close', { level: 'commit' }],
  ['urgent-byte-not-counted', { level: 'commit', urgentAt: 0 }],
  ['accept-queue-reset-dropped', { level: 'commit' }],
  ['accept-queue-reset-dropped', { level: 'periodic' }],
  ['accept-queue-of-a-dead-host-forgotten', { level: 'commit' }],
  ['half-open-affinity-to-the-dead', { level: 'none', handshake: true }],
  ['successor-has-not-sent-the-fin', { level: 'commit' }],
  ['ended-session-reset-at-the-death', { level: 'none' }],
  ['ended-session-reset-at-the-death', { level: 'periodic' }],
  ['replica-without-the-end', { level: 'commit' }],
])(
  '%s %j',
  (bug, o) => {
    const t = performance.now();
    const f = explore(createLifeModel({ ...o, bugs: [bug] }), 3_000_000);
    console.log(
      bug,
      JSON.stringify(o),
      f.states,
      Math.round(performance.now() - t),
      JSON.stringify([...f.broken], undefined, 1),
    );
  },
  600_000,
);
