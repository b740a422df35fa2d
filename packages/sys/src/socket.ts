/**
 * Socket calls on bare descriptors. All are non-blocking and take Buffers they do not keep; scratch Buffers are shared,
 * which is safe because every call is synchronous.
 */
import type { SocketAddress } from '@restitch/core';
import { SyscallError, check, errno, lastErrno, libc } from './libc.js';
import { decodeSocketAddress, encodeSocketAddress, socketAddressBytes } from './socket-address.js';

const socketFn = libc.declare('int socket(int domain, int type, int protocol)');
const bindFn = libc.declare('int bind(int fd, void *address, unsigned int length)');
const connectFn = libc.declare('int connect(int fd, void *address, unsigned int length)');
const listenFn = libc.declare('int listen(int fd, int backlog)');
const acceptFn = libc.declare('int accept4(int fd, void *address, void *length, int flags)');
const shutdownFn = libc.declare('int shutdown(int fd, int how)');
const sendFn = libc.declare('long send(int fd, void *data, size_t length, int flags)');
const recvFn = libc.declare('long recv(int fd, void *data, size_t length, int flags)');
const getpeernameFn = libc.declare('int getpeername(int fd, void *address, void *length)');
const getsocknameFn = libc.declare('int getsockname(int fd, void *address, void *length)');
const getsockoptFn = libc.declare('int getsockopt(int fd, int level, int name, void *value, void *length)');
const setsockoptFn = libc.declare(
  'int setsockopt(int fd, int level, int name, void *value, unsigned int length)',
);
const ioctlFn = libc.declare('int ioctl(int fd, unsigned long request, void *argument)');

const sockStream = 1;
const sockNonblock = 0o4000;
const sockCloexec = 0o2000000;
const msgOob = 0x01;
const msgPeek = 0x02;
const msgDontwait = 0x40;
const msgNosignal = 0x4000;
const siocInq = 0x541b;
const siocOutq = 0x5411;
const siocOutqNsd = 0x894b;
const siocAtMark = 0x8905;

const addressScratch = Buffer.alloc(socketAddressBytes);
// Typed arrays, not Buffers: reading one element costs nothing beside a call, Buffer's checked accessors 0.1 µs.
const intScratch = new Int32Array(1);
const lengthScratch = new Uint32Array(1);

/** A TCP socket, non-blocking and close-on-exec; the caller owns the number. */
export function openTcpSocket(family: number): number {
  return check(socketFn(family, sockStream | sockNonblock | sockCloexec, 0), 'socket');
}

/** Any socket, close-on-exec; for netlink and tests. */
export function openSocket(family: number, type: number, protocol: number): number {
  return check(socketFn(family, type | sockCloexec, protocol), 'socket');
}

/** bind(2) to an IP address and port. */
export function bindSocket(fd: number, family: number, address: SocketAddress): void {
  const bytes = encodeSocketAddress(address, family, addressScratch);
  if (bindFn(fd, addressScratch, bytes) < 0) {
    throw new SyscallError('bind', lastErrno(), fd, `${address.address} port ${address.port}`);
  }
}

/** bind(2) with an address already encoded. */
export function bindSocketRaw(fd: number, sockaddr: Uint8Array, bytes: number): void {
  check(bindFn(fd, sockaddr, bytes), 'bind', fd);
}

/** connect(2). Returns false while the handshake is still under way (EINPROGRESS); true in TCP_REPAIR. */
export function connectSocket(fd: number, family: number, address: SocketAddress): boolean {
  const bytes = encodeSocketAddress(address, family, addressScratch);
  if (connectFn(fd, addressScratch, bytes) === 0) return true;
  const error = lastErrno();
  if (error === errno.EINPROGRESS) return false;
  throw new SyscallError('connect', error, fd, `${address.address} port ${address.port}`);
}

/** listen(2). */
export function listenSocket(fd: number, backlog: number): void {
  check(listenFn(fd, backlog), 'listen', fd);
}

/** accept4(2), non-blocking; undefined if nobody waits. */
export function acceptSocket(fd: number): number | undefined {
  const accepted = acceptFn(fd, null, null, sockNonblock | sockCloexec);
  if (accepted >= 0) return accepted;
  const error = lastErrno();
  if (error === errno.EAGAIN) return undefined;
  throw new SyscallError('accept4', error, fd);
}

/** shutdown(2) of the sending side: queues a FIN. */
export function shutdownSend(fd: number): void {
  check(shutdownFn(fd, 1), 'shutdown', fd);
}

/** send(2) without waiting; the number of bytes taken, 0 if the queue is full. Throws for any other failure. */
export function sendBytes(fd: number, data: Uint8Array, length = data.length): number {
  const sent = sendFn(fd, data, length, msgDontwait | msgNosignal);
  if (sent >= 0) return sent;
  const error = lastErrno();
  if (error === errno.EAGAIN) return 0;
  throw new SyscallError('send', error, fd, `${length} bytes`);
}

/** Sends one byte as TCP urgent data (MSG_OOB). */
export function sendUrgentByte(fd: number, byte: number): void {
  check(sendFn(fd, Uint8Array.of(byte), 1, msgOob | msgNosignal), 'send(MSG_OOB)', fd);
}

/** recv(2) without waiting; bytes read, 0 at the end of the stream, −1 if there is nothing now. */
export function receiveBytes(fd: number, into: Uint8Array): number {
  return receive(fd, into, msgDontwait);
}

/** The same, leaving the bytes in the queue. In TCP_REPAIR it reads the selected queue. */
export function peekBytes(fd: number, into: Uint8Array): number {
  return receive(fd, into, msgPeek | msgDontwait);
}

/** recv(2) that waits, for netlink sockets, whose answers are there at once; bytes read. */
export function receiveWaiting(fd: number, into: Uint8Array): number {
  return receive(fd, into, 0);
}

function receive(fd: number, into: Uint8Array, flags: number): number {
  const got = recvFn(fd, into, into.length, flags);
  if (got >= 0) return got;
  const error = lastErrno();
  if (error === errno.EAGAIN) return -1;
  throw new SyscallError('recv', error, fd);
}

/** The peer's address. Throws SyscallError ENOTCONN if there is none. */
export function getPeerAddress(fd: number): SocketAddress {
  lengthScratch[0] = socketAddressBytes;
  check(getpeernameFn(fd, addressScratch, lengthScratch), 'getpeername', fd);
  return decodeSocketAddress(addressScratch);
}

/** The socket's own address. */
export function getLocalAddress(fd: number): SocketAddress {
  lengthScratch[0] = socketAddressBytes;
  check(getsocknameFn(fd, addressScratch, lengthScratch), 'getsockname', fd);
  return decodeSocketAddress(addressScratch);
}

/** An integer option. */
export function getIntOption(fd: number, level: number, name: number): number {
  lengthScratch[0] = 4;
  // Some options answer with one byte (IP_TOS on old kernels): the rest must not be what the last call left.
  intScratch[0] = 0;
  if (getsockoptFn(fd, level, name, intScratch, lengthScratch) < 0) failOption('getsockopt', fd, level, name);
  return intScratch[0] ?? 0;
}

/** An integer option, or undefined if the kernel does not know it here (ENOPROTOOPT, EOPNOTSUPP, EINVAL). */
export function getIntOptionIfKnown(fd: number, level: number, name: number): number | undefined {
  lengthScratch[0] = 4;
  intScratch[0] = 0;
  if (getsockoptFn(fd, level, name, intScratch, lengthScratch) === 0) return intScratch[0] ?? 0;
  return undefined;
}

/** Sets an integer option. */
export function setIntOption(fd: number, level: number, name: number, value: number): void {
  intScratch[0] = value;
  if (setsockoptFn(fd, level, name, intScratch, 4) < 0) failOption('setsockopt', fd, level, name);
}

/** Sets an unsigned integer option (sequence numbers, timestamps). */
export function setUintOption(fd: number, level: number, name: number, value: number): void {
  intScratch[0] = value | 0;
  if (setsockoptFn(fd, level, name, intScratch, 4) < 0) failOption('setsockopt', fd, level, name);
}

/** An option of any size into `into`; returns how many bytes the kernel wrote. */
export function getBufferOption(fd: number, level: number, name: number, into: Uint8Array): number {
  lengthScratch[0] = into.length;
  if (getsockoptFn(fd, level, name, into, lengthScratch) < 0) failOption('getsockopt', fd, level, name);
  return lengthScratch[0] ?? 0;
}

/** Sets an option from bytes. */
export function setBufferOption(fd: number, level: number, name: number, value: Uint8Array): void {
  if (setsockoptFn(fd, level, name, value, value.byteLength) < 0) failOption('setsockopt', fd, level, name);
}

/** Calls an option with no value at all (NULL, 0), which some take as "remove". */
export function clearOption(fd: number, level: number, name: number): void {
  if (setsockoptFn(fd, level, name, null, 0) < 0) failOption('setsockopt', fd, level, name);
}

/** Bytes received in order and not read (SIOCINQ); a FIN of the peer is not counted. */
export function unreadBytes(fd: number): number {
  check(ioctlFn(fd, siocInq, intScratch), 'ioctl(SIOCINQ)', fd);
  return intScratch[0] ?? 0;
}

/** Bytes written and not acknowledged (SIOCOUTQ); counts our own FIN. */
export function unacknowledgedBytes(fd: number): number {
  check(ioctlFn(fd, siocOutq, intScratch), 'ioctl(SIOCOUTQ)', fd);
  return intScratch[0] ?? 0;
}

/** Bytes written and not sent yet (SIOCOUTQNSD); counts our own FIN. */
export function unsentBytes(fd: number): number {
  check(ioctlFn(fd, siocOutqNsd, intScratch), 'ioctl(SIOCOUTQNSD)', fd);
  return intScratch[0] ?? 0;
}

/** True if the next byte to be read would be the urgent one (SIOCATMARK). */
export function isAtUrgentMark(fd: number): boolean {
  check(ioctlFn(fd, siocAtMark, intScratch), 'ioctl(SIOCATMARK)', fd);
  return intScratch[0] === 1;
}

/** The text is built only on failure: this file is called some 60 times a move. */
function failOption(syscall: string, fd: number, level: number, name: number): never {
  throw new SyscallError(syscall, lastErrno(), fd, `level ${level} option ${name}`);
}
