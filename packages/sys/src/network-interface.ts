/** Facts and switches of a network interface by ioctl: sysfs shows the namespace it was mounted in, ioctl the current one. */
import { RestitchError } from '@restitch/core';
import { Fd } from './fd.js';
import { check, libc } from './libc.js';

const socketFn = libc.declare('int socket(int family, int type, int protocol)');
const ioctlFn = libc.declare('int ioctl(int fd, unsigned long request, void *argument)');
const nameToIndexFn = libc.declare('unsigned int if_nametoindex(const char *name)');

const afInet = 2;
const sockDgramCloexec = 2 | 0x80000;

/** linux/sockios.h */
const requests = {
  getFlags: 0x8913,
  setFlags: 0x8914,
  getMac: 0x8927,
  setQueueLength: 0x8943,
} as const;

const interfaceUp = 0x1;
const interfaceNoArp = 0x80;

/** Index of an interface in the current namespace. Throws `unsupported_host` if there is none of this name. */
export function interfaceIndex(name: string): number {
  const index = nameToIndexFn(name);
  if (index === 0)
    throw new RestitchError('unsupported_host', `no network interface ${JSON.stringify(name)}`);
  return index;
}

/** MAC address, 6 bytes. */
export function interfaceMac(name: string): Buffer {
  const request = requestFor(name);
  call(requests.getMac, request, name);
  return Buffer.from(request.subarray(18, 24));
}

/** Sets the interface up without ARP: nothing but what is sent into it goes out of it. */
export function setUpSilent(name: string): void {
  const request = requestFor(name);
  call(requests.getFlags, request, name);
  request.writeInt16LE(request.readInt16LE(16) | interfaceUp | interfaceNoArp, 16);
  call(requests.setFlags, request, name);
}

/** Frames its transmit queue takes. */
export function setQueueLength(name: string, frames: number): void {
  const request = requestFor(name);
  request.writeInt32LE(frames, 16);
  call(requests.setQueueLength, request, name);
}

/** struct ifreq: name 16, then a union of 24. */
function requestFor(name: string): Buffer {
  if (name.length === 0 || name.length > 15)
    throw new RestitchError('usage', `not an interface name: ${JSON.stringify(name)}`);
  const request = Buffer.alloc(40);
  request.write(name, 'latin1');
  return request;
}

function call(request: number, argument: Buffer, name: string): void {
  const fd = new Fd(check(socketFn(afInet, sockDgramCloexec, 0), 'socket'));
  try {
    check(ioctlFn(fd.value, request, argument), 'ioctl', fd.value, `0x${request.toString(16)} ${name}`);
  } finally {
    fd.close();
  }
}
