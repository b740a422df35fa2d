/** CPU time of the calling thread, the clock that `hostCpuUs` is measured with. */
import { check, libc } from './libc.js';

const clockGettimeFn = libc.declare('int clock_gettime(int clock, void *timespec)');
const clockThreadCputimeId = 3;
const scratch = Buffer.alloc(16);

/** CLOCK_THREAD_CPUTIME_ID in nanoseconds (a number: exact for 100 days of CPU). */
export function threadCpuNs(): number {
  check(clockGettimeFn(clockThreadCputimeId, scratch), 'clock_gettime');
  return Number(scratch.readBigInt64LE(0)) * 1e9 + Number(scratch.readBigInt64LE(8));
}
