/** Whether this kernel takes the programs of an endpoint's host. */
import type { FeatureReport } from '@restitch/sys';
import { probeProgram } from '@restitch/sys/internal';
import { objectPath } from './object-path.js';

/** Loads each program and lets it go; takes some ten milliseconds. */
export function probePrograms(pathOf: typeof objectPath = objectPath): FeatureReport[] {
  const needs = ['agent'] as const;
  const maxEntries = { guard_flows: 1 };
  return [
    probeProgram({ program: 'guard_egress', path: pathOf('guard'), needs, maxEntries }),
    probeProgram({ program: 'guard_control', path: pathOf('control'), needs, maxEntries }),
    probeProgram({ program: 'guard_witness', path: pathOf('witness'), needs }),
  ];
}
