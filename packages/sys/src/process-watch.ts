/** Who is on the other end of a unix socket, and whether that process still lives: by pidfd, which no reused number can fool. */
import { Fd } from './fd.js';
import { check, libc } from './libc.js';

const syscallFn = libc.declare('long syscall(long number, long pid, long flags)');
const pollFn = libc.declare('int poll(void *fds, unsigned long count, int timeoutMs)');
const getsockoptFn = libc.declare('int getsockopt(int fd, int level, int name, void *value, void *length)');

/** asm-generic/unistd.h: the same number on all architectures (Linux 5.3). */
const pidfdOpenNumber = 434;
const solSocket = 1;
const soPeercred = 17;
const pollIn = 1;

/** struct ucred of the process that connected (or of the one that listened, seen from the other side). */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** SO_PEERCRED of a connected unix socket; `fd` is only looked at. */
export function peerCredentials(fd: number): PeerCredentials {
  const value = Buffer.alloc(12);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  check(getsockoptFn(fd, solSocket, soPeercred, value, length), 'getsockopt(SO_PEERCRED)', fd);
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

/** A descriptor of a process. Throws SyscallError ESRCH if it has ended. */
export function openPidfd(pid: number): Fd {
  return new Fd(check(syscallFn(pidfdOpenNumber, pid, 0), 'pidfd_open', -1, String(pid)));
}

/** True once the process has ended; does not wait. */
export function hasProcessEnded(pidfd: Fd): boolean {
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(pidfd.value, 0);
  entry.writeInt16LE(pollIn, 4);
  return check(pollFn(entry, 1, 0), 'poll', pidfd.value) > 0;
}
