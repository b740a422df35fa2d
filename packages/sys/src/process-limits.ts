/** Limits of this process and handles on others. */
import { check, libc } from './libc.js';

const getrlimitFn = libc.declare('int getrlimit(int resource, void *limit)');
const setrlimitFn = libc.declare('int setrlimit(int resource, void *limit)');
const syscallFn = libc.declare('long syscall(long number, long first, long second)');

const rlimitNofile = 7;
/** The same number on every machine since Linux 5.3. */
const sysPidfdOpen = 434;

/** How many descriptors a process may have; both are counts, Infinity for none. */
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

/** Lifts the soft limit to the hard one, which needs no privilege; a session takes one descriptor. */
export function raiseFileLimit(): FileLimit {
  const limit = Buffer.alloc(16);
  check(getrlimitFn(rlimitNofile, limit), 'getrlimit');
  limit.copy(limit, 0, 8, 16);
  check(setrlimitFn(rlimitNofile, limit), 'setrlimit');
  return readFileLimit();
}

/** A descriptor for a process, readable when it has ended; never means another that got the same number. */
export function openPidfd(pid: number): number {
  return check(syscallFn(sysPidfdOpen, pid, 0), 'pidfd_open', -1, `process ${pid}`);
}

function toCount(value: bigint): number {
  return value === 0xffff_ffff_ffff_ffffn ? Infinity : Number(value);
}
