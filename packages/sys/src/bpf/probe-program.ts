/**
 * Whether this kernel takes one of our programs, found out by loading it and letting it go: nothing is attached, nothing
 * pinned. A version number does not tell: 6.1 lacks nothing that a program names, and its verifier still refused three.
 */
import { RestitchError } from '@restitch/core';
import type { FeatureNeed, FeatureReport } from '../features.js';
import { triedKernels } from '../kernels.js';
import { errno } from '../libc.js';
import { BpfLoadError, loadBpfObject } from './libbpf.js';

/** A program in its object file. */
export interface ProgramSpec {
  /** As the C source names it. */
  readonly program: string;
  readonly path: string;
  readonly needs: readonly FeatureNeed[];
  /** Smaller maps than the real ones: a probe should cost no memory. */
  readonly maxEntries?: Readonly<Record<string, number>>;
}

/** Loads the program alone, not what else its object holds. A refusal is a report, with the verifier's last telling line. */
export function probeProgram({ program, path, needs, maxEntries = {} }: ProgramSpec): FeatureReport {
  const name = `program ${program}`;
  try {
    loadBpfObject({ path, maps: [], programs: [program], maxEntries }).close();
    return { name, isPresent: true, needs, found: 'loads', remedy: '' };
  } catch (error) {
    if (!(error instanceof RestitchError)) throw error;
    const found = error instanceof BpfLoadError ? error.reason : error.message;
    return { name, isPresent: false, needs, found, remedy: remedyFor(error) };
  }
}

function remedyFor(error: RestitchError): string {
  if (error instanceof BpfLoadError) {
    // The verifier has words for what it refuses; a process that may not load anything is not told any.
    return error.errno === errno.EPERM && error.log === ''
      ? 'run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN'
      : `use a kernel that was tried (Linux ${triedKernels.join(', ')}), and report this line with \`uname -r\``;
  }
  if (error.code === 'unsupported_host') return 'apt-get install libbpf1';
  return 'run `npm run build`, which compiles the programs';
}
