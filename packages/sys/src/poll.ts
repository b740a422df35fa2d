/** poll(2) on a few descriptors, for states that no other call tells. */
import { check, errno, lastErrno, libc } from './libc.js';

const pollFn = libc.declare('int poll(void *fds, unsigned long count, int timeout_ms)');

/** Bits of `struct pollfd` (asm-generic/poll.h). */
export const pollEvent = { in: 0x1, urgent: 0x2, out: 0x4, error: 0x8, hangUp: 0x10 } as const;

const scratch = Buffer.alloc(8);

/** Which of `events` hold now (errors and hang-up are always told); waits at most `timeoutMs`, and blocks the thread. */
export function pollFd(fd: number, events: number, timeoutMs = 0): number {
  scratch.writeInt32LE(fd, 0);
  scratch.writeInt16LE(events, 4);
  scratch.writeInt16LE(0, 6);
  let result = pollFn(scratch, 1, timeoutMs);
  // A signal (a profiler's, for one) is no answer.
  while (result < 0 && lastErrno() === errno.EINTR) result = pollFn(scratch, 1, timeoutMs);
  check(result, 'poll', fd);
  return scratch.readInt16LE(6);
}
