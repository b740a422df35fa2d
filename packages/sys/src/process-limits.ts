/** Limits of this process. Node lifts the soft limit of descriptors to the hard one when it starts. */
import { check, libc } from './libc.js';

const getrlimitFn = libc.declare('int getrlimit(int resource, void *limit)');
const rlimitNofile = 7;

/** How many descriptors a process may have (a session takes one); Infinity for no limit. */
export interface FileLimit {
  readonly soft: number;
  readonly hard: number;
}

/** RLIMIT_NOFILE now. */
export function readFileLimit(): FileLimit {
  const limit = Buffer.alloc(16);
  check(getrlimitFn(rlimitNofile, limit), 'getrlimit');
  return { soft: toCount(limit.readBigUInt64LE(0)), hard: toCount(limit.readBigUInt64LE(8)) };
}

function toCount(value: bigint): number {
  return value === 0xffff_ffff_ffff_ffffn ? Infinity : Number(value);
}
