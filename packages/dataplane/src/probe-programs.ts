/** Whether this kernel takes the access point's programs. */
import type { FeatureReport } from '@restitch/sys';
import { probeProgram } from '@restitch/sys/internal';
import { objectPath } from './object-path.js';

const small = { flows: 1, half_open: 1 };

/** Loads each program and lets it go; takes some ten milliseconds. */
export function probePrograms(pathOf: typeof objectPath = objectPath): FeatureReport[] {
  const needs = ['access-point'] as const;
  return [
    probeProgram({ program: 'steer', path: pathOf('steering'), needs, maxEntries: small }),
    probeProgram({ program: 'reenter', path: pathOf('steering'), needs, maxEntries: small }),
    probeProgram({ program: 'control', path: pathOf('control'), needs, maxEntries: { flows: 1 } }),
  ];
}
