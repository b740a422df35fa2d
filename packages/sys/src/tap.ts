/**
 * A TAP device with virtio headers: frames come and go as the kernel has them, GSO super-packets in one piece and
 * checksums as far as they are computed. Without the header a 64 KB super-packet would be cut into 45 frames.
 */
import { closeSync, constants, openSync, writeFileSync } from 'node:fs';
import { Fd } from './fd.js';
import { SyscallError, check, errno, lastErrno, libc } from './libc.js';
import { interfaceIndex, setQueueLength, setUpSilent } from './network-interface.js';

const ioctlFn = libc.declare('int ioctl(int fd, unsigned long request, void *argument)');
const ioctlValueFn = libc.declare('int ioctl(int fd, unsigned long request, unsigned long value)');
const readFn = libc.declare('long read(int fd, void *memory, size_t bytes)');
const writeFn = libc.declare('long write(int fd, void *memory, size_t bytes)');

/** linux/if_tun.h */
const tunSetIff = 0x400454ca;
const tunSetOffload = 0x400454d0;
const iffTap = 0x0002;
const iffNoPi = 0x1000;
const iffVnetHdr = 0x4000;
const offloadChecksum = 0x01;
const offloadTso4 = 0x02;
const offloadTso6 = 0x04;
const offloadTsoEcn = 0x08;

/** struct virtio_net_hdr, in front of every frame. */
export const vnetHeaderBytes = 10;
/** A super-packet of 64 KB, its link header and the virtio header, with room to spare. */
export const maxTapFrameBytes = 128 * 1024;

/** An open TAP device; frames carry a virtio header of `vnetHeaderBytes`. */
export interface Tap {
  readonly name: string;
  readonly interfaceIndex: number;
  /** Reads one frame into `memory` (`maxTapFrameBytes`); its bytes with header, or 0 if none waits. */
  read(memory: Buffer): number;
  /**
   * Writes one frame of `bytes` with header; returns when the receiving side's ingress programs have run. False if the
   * kernel did not take it: like a frame that a wire lost.
   */
  write(memory: Buffer, bytes: number): boolean;
  /** The device goes with its last descriptor. */
  close(): void;
}

/** Makes a TAP device that is up, silent and queues `queueFrames`. Needs CAP_NET_ADMIN and /dev/net/tun. */
export function openTap(name: string, queueFrames: number): Tap {
  const fd = new Fd(openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK));
  try {
    const request = Buffer.alloc(40);
    request.write(name.slice(0, 15), 'latin1');
    request.writeUInt16LE(iffTap | iffNoPi | iffVnetHdr, 16);
    check(ioctlFn(fd.value, tunSetIff, request), 'ioctl(TUNSETIFF)', fd.value, name);
    const offload = offloadChecksum | offloadTso4 | offloadTso6 | offloadTsoEcn;
    check(ioctlValueFn(fd.value, tunSetOffload, offload), 'ioctl(TUNSETOFFLOAD)', fd.value, name);
    disableIpv6(name);
    setQueueLength(name, queueFrames);
    setUpSilent(name);
    return createTap(fd, name);
  } catch (error) {
    fd.close();
    throw error;
  }
}

function createTap(fd: Fd, name: string): Tap {
  return {
    name,
    interfaceIndex: interfaceIndex(name),
    read(memory) {
      for (;;) {
        const bytes = readFn(fd.value, memory, memory.length);
        if (bytes >= 0) return bytes;
        const error = lastErrno();
        if (error === errno.EAGAIN) return 0;
        // EINVAL: a kind of super-packet that virtio cannot describe; the kernel has dropped it.
        if (error !== errno.EINVAL && error !== errno.EINTR)
          throw new SyscallError('read', error, fd.value, name);
      }
    },
    write: (memory, bytes) => writeFn(fd.value, memory, bytes) >= 0,
    close: () => fd.close(),
  };
}

/** Else the kernel would send router solicitations into the device as soon as it is up. */
function disableIpv6(name: string): void {
  let file: number;
  try {
    file = openSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, 'w');
  } catch {
    return; // No IPv6 in this kernel: nothing to silence.
  }
  try {
    writeFileSync(file, '1');
  } finally {
    closeSync(file);
  }
}
