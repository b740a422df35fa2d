/**
 * A TAP device as a wire end: every frame is at most MTU long and has its checksums, as on a real cable.
 *
 * Without the virtio header, unlike `tap.ts`: a link emulator must lose single packets, never a super-packet of 45.
 */
import { constants, openSync } from 'node:fs';
import { Fd } from './fd.js';
import { SyscallError, check, errno, lastErrno, libc } from './libc.js';

const ioctlFn = libc.declare('int ioctl(int fd, unsigned long request, void *argument)');
const readFn = libc.declare('long read(int fd, void *memory, size_t bytes)');
const writeFn = libc.declare('long write(int fd, void *memory, size_t bytes)');
const ppollFn = libc.declare('int ppoll(void *fds, unsigned long count, void *timeout, void *mask)');

/** linux/if_tun.h */
const tunSetIff = 0x400454ca;
const iffTap = 0x0002;
const iffNoPi = 0x1000;
const pollIn = 1;
const pollfdBytes = 8;

/** An end of a wire. */
export interface WireTap {
  readonly fd: number;
  /** One frame into `memory`; its bytes, or 0 if none waits. */
  read(memory: Buffer): number;
  /** Sends one frame; false if the device is down or full. */
  write(frame: Uint8Array): boolean;
  close(): void;
}

/** Makes a TAP device in the current network namespace; it goes with its descriptor. Needs CAP_NET_ADMIN. */
export function openWireTap(name: string): WireTap {
  const fd = new Fd(openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK));
  const request = Buffer.alloc(40);
  request.write(name.slice(0, 15), 'latin1');
  request.writeUInt16LE(iffTap | iffNoPi, 16);
  try {
    check(ioctlFn(fd.value, tunSetIff, request), 'ioctl(TUNSETIFF)', fd.value, name);
  } catch (error) {
    fd.close();
    throw error;
  }
  return {
    fd: fd.value,
    read(memory) {
      const bytes = readFn(fd.value, memory, memory.length);
      if (bytes >= 0) return bytes;
      const error = lastErrno();
      // EIO: the device is down; its frames are as good as lost.
      if (error === errno.EAGAIN || error === errno.EIO) return 0;
      throw new SyscallError('read', error, fd.value, name);
    },
    write: (frame) => writeFn(fd.value, frame, frame.length) >= 0,
    close: () => fd.close(),
  };
}

/** Blocks the thread until one of the descriptors can be read or `timeoutNs` have passed. */
export function createReadWaiter(fds: readonly number[]): (timeoutNs: number) => void {
  const pollfds = Buffer.alloc(fds.length * pollfdBytes);
  fds.forEach((fd, i) => {
    pollfds.writeInt32LE(fd, i * pollfdBytes);
    pollfds.writeInt16LE(pollIn, i * pollfdBytes + 4);
  });
  const timespec = Buffer.alloc(16);
  return (timeoutNs) => {
    const ns = Math.max(0, Math.round(timeoutNs));
    timespec.writeBigInt64LE(BigInt(Math.floor(ns / 1e9)), 0);
    timespec.writeBigInt64LE(BigInt(ns % 1e9), 8);
    const result = ppollFn(pollfds, fds.length, timespec, null);
    if (result < 0 && lastErrno() !== errno.EINTR) throw new SyscallError('ppoll', lastErrno());
  };
}
