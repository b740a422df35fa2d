/** The file system that keeps BPF objects alive when their maker has ended, as the kernel offers it: look, mount, unmount. */
import { closeSync, constants, openSync } from 'node:fs';
import { errno, check, lastErrno, libc, SyscallError } from './libc.js';

const statfsFn = libc.declare('int statfs(const char *path, void *info)');
const mountFn = libc.declare(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
);
const umountFn = libc.declare('int umount2(const char *target, int flags)');
const accessFn = libc.declare('int faccessat(int directory, const char *path, int mode, int flags)');
const flockFn = libc.declare('int flock(int fd, int operation)');

/** linux/magic.h */
const bpfFsMagic = 0xcafe4a11;
const sysFsMagic = 0x62656572;
/** linux/mount.h */
const mountFlags = { nosuid: 2, nodev: 4, noexec: 8 } as const;
const unmountFlags = { detach: 2, noFollow: 8 } as const;
/** fcntl.h */
const atFdcwd = -100;
const atEaccess = 0x200;
const lockExclusive = 2;

/** True if BPF objects can be pinned below `path`. */
export function isBpffs(path: string): boolean {
  return magicOf(path) === bpfFsMagic;
}

/** True if `path` belongs to sysfs: nothing is mounted at /sys/fs/bpf then. */
export function isSysfs(path: string): boolean {
  return magicOf(path) === sysFsMagic;
}

/** True if this process may make entries in that directory, whatever lends it the right; false for one that is not there. */
export function canMakeEntries(directory: string): boolean {
  return accessFn(atFdcwd, directory, constants.W_OK | constants.X_OK, atEaccess) === 0;
}

/**
 * Mounts a new BPF file system at a directory of this mount namespace; its root belongs to this user. Every mount is
 * another file system, and hides what was there: ask `isBpffs` under `withDirectoryLock` first. Needs CAP_SYS_ADMIN;
 * throws SyscallError.
 */
export function mountBpffs(directory: string, mode: number): void {
  const flags = mountFlags.nosuid | mountFlags.nodev | mountFlags.noexec;
  check(mountFn('bpf', directory, 'bpf', flags, `mode=${mode.toString(8)}`), 'mount', -1, `bpf ${directory}`);
}

/**
 * Takes away every BPF file system that is mounted at `directory`; whoever still has something of it open keeps that.
 * Passes over a directory that has none or is not there. Throws SyscallError.
 */
export function unmountBpffs(directory: string): void {
  while (isBpffs(directory)) {
    if (umountFn(directory, unmountFlags.detach | unmountFlags.noFollow) === 0) continue;
    const error = lastErrno();
    // A directory inside another's BPF file system is no mount of ours.
    if (error === errno.EINVAL) return;
    throw new SyscallError('umount2', error, -1, directory);
  }
}

/** Runs `fn` while no other process is in here for the same directory; a file system that `fn` mounts over it ends no lock. */
export function withDirectoryLock<T>(directory: string, fn: () => T): T {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    check(flockFn(fd, lockExclusive), 'flock', fd, directory);
    return fn();
  } finally {
    closeSync(fd);
  }
}

function magicOf(path: string): number | undefined {
  const info = Buffer.alloc(256);
  return statfsFn(path, info) === 0 ? info.readUInt32LE(0) : undefined;
}
