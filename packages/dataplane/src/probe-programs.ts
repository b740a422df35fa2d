/** Whether this kernel takes the access point's programs. */
import type { FeatureReport } from '@restitch/sys';
import { probeProgram } from '@restitch/sys/internal';
import { objectPath } from './object-path.js';

const small = { flows: 1, half_open: 1 };

/** Loads each program and lets it go; takes about 0.1 s. */
export function probePrograms(): FeatureReport[] {
  const needs = ['access-point'] as const;
  return [
    probeProgram({ program: 'steer', path: objectPath('steering'), needs, maxEntries: small }),
    probeProgram({ program: 'reenter', path: objectPath('steering'), needs, maxEntries: small }),
    probeProgram({ program: 'control', path: objectPath('control'), needs, maxEntries: { flows: 1 } }),
  ];
}
