/**
 * The kernel's own list of TCP sockets (sock_diag(7), linux/inet_diag.h): looking one up, listing, destroying.
 *
 * A netlink socket sees the namespace it was opened in, so one is opened a call: this is not for hot paths.
 */
import { RestitchError, type SocketAddress, decodeAddress, encodeAddress } from '@restitch/core';
import { closeFd } from './fd.js';
import { SyscallError, errno } from './libc.js';
import { afInet, afInet6, familyOf } from './socket-address.js';
import { openSocket, receiveWaiting, sendBytes } from './socket.js';
import { tcpState } from './tcp-info.js';

const afNetlink = 16;
const sockRaw = 3;
const netlinkSockDiag = 4;
const messageBytes = 16;
const requestBytes = 56;
const typeSockDiagByFamily = 20;
const typeSockDestroy = 21;
const typeError = 2;
const typeDone = 3;
const flagRequest = 1;
const flagAck = 4;
const flagDump = 0x300;
const ipprotoTcp = 6;
const attributeInfo = 2;
const attributeMd5 = 18;
const attributeUlp = 19;

/** One TCP socket as the kernel lists it. */
export interface ListedSocket {
  readonly state: number;
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  /** Unread and unacknowledged bytes. */
  readonly receiveQueueBytes: number;
  readonly sendQueueBytes: number;
  /** 0 for sockets no process holds any more. */
  readonly inode: number;
  /** 8 bytes that no other socket of this boot has. */
  readonly cookie: Buffer;
  /** Told to callers with CAP_NET_ADMIN only. */
  readonly hasMd5: boolean;
  readonly hasUlp: boolean;
}

/**
 * The connection with exactly these ends in the thread's namespace, undefined if there is none. The kernel answers with a
 * listener where it has no connection (inet_lookup): that is none.
 */
export function findTcpSocket(local: SocketAddress, remote: SocketAddress): ListedSocket | undefined {
  try {
    const [found] = talk(
      encodeRequest(typeSockDiagByFamily, flagRequest, familyOf(local.address), { ends: [local, remote] }),
    );
    return found?.state === tcpState.listen ? undefined : found;
  } catch (error) {
    if (error instanceof SyscallError && error.errno === errno.ENOENT) return undefined;
    throw error;
  }
}

/** All TCP sockets of the thread's namespace in the given states (numbers of tcp_states.h), both families. */
export function listTcpSockets(states: readonly number[]): ListedSocket[] {
  const mask = states.reduce((sum, state) => sum | (1 << state), 0);
  return [afInet, afInet6].flatMap((family) =>
    talk(encodeRequest(typeSockDiagByFamily, flagRequest | flagDump, family, { states: mask })),
  );
}

/**
 * Ends a connection of any process at once; its peer is told by RST unless a socket in TCP_REPAIR is meant. Returns
 * false if there is none, or another one than `cookie` names. Needs CAP_NET_ADMIN and CONFIG_INET_DIAG_DESTROY (else
 * EOPNOTSUPP). Always by a cookie: by its ends alone, a connection that has gone meanwhile would cost its listener.
 */
export function destroyTcpSocket(
  local: SocketAddress,
  remote: SocketAddress,
  cookie: Uint8Array = findTcpSocket(local, remote)?.cookie ?? cookieOfNone,
): boolean {
  try {
    const which = { ends: [local, remote], cookie } as const;
    talk(encodeRequest(typeSockDestroy, flagRequest | flagAck, familyOf(local.address), which));
    return true;
  } catch (error) {
    if (error instanceof SyscallError && [errno.ENOENT, errno.ESTALE].includes(error.errno)) return false;
    throw error;
  }
}

/** The kernel counts from 1 (net/core/sock_diag.c). */
const cookieOfNone = new Uint8Array(8);

interface Which {
  /** Bit set of states, for a dump. */
  readonly states?: number;
  /** Local and remote, for one socket. */
  readonly ends?: readonly [SocketAddress, SocketAddress];
  /** Without it any socket with these ends. */
  readonly cookie?: Uint8Array;
}

/** nlmsghdr and inet_diag_req_v2. */
function encodeRequest(type: number, flags: number, family: number, which: Which): Buffer {
  const { states = 0, ends } = which;
  const request = Buffer.alloc(messageBytes + requestBytes);
  request.writeUInt32LE(request.length, 0);
  request.writeUInt16LE(type, 4);
  request.writeUInt16LE(flags, 6);
  request.writeUInt8(family, 16);
  request.writeUInt8(ipprotoTcp, 17);
  // TCP-MD5 and upper-layer protocols are told only along with INET_DIAG_INFO (net/ipv4/inet_diag.c).
  request.writeUInt8(which.ends === undefined ? 0 : 1 << (attributeInfo - 1), 18);
  request.writeInt32LE(states, 20);
  if (ends !== undefined) {
    request.writeUInt16BE(ends[0].port, 24);
    request.writeUInt16BE(ends[1].port, 26);
    putAddress(request, 28, family, ends[0].address);
    putAddress(request, 44, family, ends[1].address);
  }
  if (which.cookie === undefined)
    request.fill(0xff, 64, 72); // INET_DIAG_NOCOOKIE
  else request.set(which.cookie, 64);
  return request;
}

function putAddress(request: Buffer, offset: number, family: number, address: string): void {
  const bytes = encodeAddress(address);
  request.set(family === afInet ? bytes.subarray(12) : bytes, offset);
}

/** Sends one request and reads to the end of its answer. */
function talk(request: Buffer): ListedSocket[] {
  const fd = openSocket(afNetlink, sockRaw, netlinkSockDiag);
  try {
    sendBytes(fd, request);
    const isDump = (request.readUInt16LE(6) & flagDump) === flagDump;
    const found: ListedSocket[] = [];
    const answer = Buffer.alloc(1 << 16);
    for (;;) {
      const length = receiveWaiting(fd, answer);
      if (!readMessages(answer.subarray(0, length), found) || !isDump) return found;
    }
  } finally {
    closeFd(fd);
  }
}

/** False when the answer is over. Throws the error it carries. */
function readMessages(answer: Buffer, found: ListedSocket[]): boolean {
  for (let at = 0; at + messageBytes <= answer.length; ) {
    const length = answer.readUInt32LE(at);
    if (length < messageBytes || at + length > answer.length) {
      throw new RestitchError('internal', `netlink message of ${length} bytes`);
    }
    const type = answer.readUInt16LE(at + 4);
    if (type === typeDone) return false;
    if (type === typeError) {
      const code = answer.readInt32LE(at + messageBytes);
      if (code < 0) throw new SyscallError('sock_diag', -code);
      return false;
    }
    found.push(parseListedSocket(answer.subarray(at + messageBytes, at + length)));
    at += (length + 3) & ~3;
  }
  return true;
}

/** `struct inet_diag_msg` (72 bytes) and the types of the attributes behind it. */
export function parseListedSocket(message: Buffer): ListedSocket {
  const family = message.readUInt8(0);
  const types = new Set<number>();
  for (let at = 72; at + 4 <= message.length; ) {
    const length = message.readUInt16LE(at);
    if (length < 4) break;
    types.add(message.readUInt16LE(at + 2));
    at += (length + 3) & ~3;
  }
  return {
    state: message.readUInt8(1),
    local: { address: addressAt(message, 8, family), port: message.readUInt16BE(4) },
    remote: { address: addressAt(message, 24, family), port: message.readUInt16BE(6) },
    receiveQueueBytes: message.readUInt32LE(56),
    sendQueueBytes: message.readUInt32LE(60),
    inode: message.readUInt32LE(68),
    cookie: Buffer.from(message.subarray(44, 52)),
    hasMd5: types.has(attributeMd5),
    hasUlp: types.has(attributeUlp),
  };
}

function addressAt(message: Buffer, offset: number, family: number): string {
  if (family === afInet6) return decodeAddress(message, offset);
  return [0, 1, 2, 3].map((i) => message.readUInt8(offset + i)).join('.');
}
