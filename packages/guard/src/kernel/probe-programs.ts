/** Whether this kernel takes the programs of an endpoint's host. */
import type { FeatureReport } from '@restitch/sys';
import { probeProgram } from '@restitch/sys/internal';
import { objectPath } from './object-path.js';

/** Loads each program and lets it go; takes about 0.1 s. */
export function probePrograms(): FeatureReport[] {
  const needs = ['agent'] as const;
  const maxEntries = { guard_flows: 1 };
  return [
    probeProgram({ program: 'guard_egress', path: objectPath('guard'), needs, maxEntries }),
    probeProgram({ program: 'guard_control', path: objectPath('control'), needs, maxEntries }),
    probeProgram({ program: 'guard_witness', path: objectPath('witness'), needs }),
  ];
}
