/**
 * The kernel's neighbour table (ARP and ND) over rtnetlink: who has which MAC, changes as they happen, and making the
 * kernel ask. No packets of our own: the kernel resolves, retries and ages better than we would.
 */
import { RestitchError, decodeAddress, encodeAddress, isIpv4, normalizeAddress } from '@restitch/core';
import { Fd } from './fd.js';
import { SyscallError, check, errno, lastErrno, libc } from './libc.js';

const socketFn = libc.declare('int socket(int family, int type, int protocol)');
const bindFn = libc.declare('int bind(int fd, void *address, uint32_t bytes)');
const sendFn = libc.declare('long send(int fd, void *memory, size_t bytes, int flags)');
const recvFn = libc.declare('long recv(int fd, void *memory, size_t bytes, int flags)');
const pollFn = libc.declare('int poll(void *fds, unsigned long count, int timeoutMs)');

const afInet = 2;
const afInet6 = 10;
const afNetlink = 16;
const sockRawCloexecNonblock = 3 | 0x80000 | 0x800;
const msgDontwait = 0x40;
const pollIn = 1;

/** linux/rtnetlink.h and linux/neighbour.h */
const groupNeighbours = 1 << 2;
const newNeighbour = 28;
const deleteNeighbour = 29;
const getNeighbours = 30;
const messageDone = 3;
const messageError = 2;
const flagRequest = 0x1;
const flagDump = 0x300;
const flagReplaceCreate = 0x500;
const attrDestination = 1;
const attrMac = 2;
const neighbourUse = 0x01;

const states = {
  incomplete: 0x01,
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noarp: 0x40,
  permanent: 0x80,
} as const;

/** NUD state of an entry; `gone` when the kernel deleted it. */
type NeighbourState = keyof typeof states | 'none' | 'gone';

/** One entry of the table. */
export interface Neighbour {
  /** Normalised address. */
  readonly address: string;
  readonly interfaceIndex: number;
  /** 6 bytes; absent while it is being resolved. */
  readonly mac: Buffer | undefined;
  readonly state: NeighbourState;
}

/** The neighbour table of one interface. */
export interface NeighbourTable {
  /** Asks for all entries; they arrive like changes. */
  requestAll(): void;
  /** Entries and changes that have arrived since the last call. */
  read(): Neighbour[];
  /** Waits until something arrives, at most `timeoutMs`; blocks the thread. */
  wait(timeoutMs: number): boolean;
  /** Makes the kernel resolve the address as if a packet were sent; never blocks. */
  resolve(address: string): void;
  /** Makes the kernel verify a known MAC now (unicast; its answer or silence changes the state). */
  verify(address: string, mac: Uint8Array): void;
  /** Forgets the entry, so that the next `resolve` asks everyone. */
  forget(address: string): void;
  close(): void;
}

/** Opens the table of one interface of the current network namespace. */
export function openNeighbourTable(interfaceIndex: number): NeighbourTable {
  const fd = new Fd(check(socketFn(afNetlink, sockRawCloexecNonblock, 0), 'socket(AF_NETLINK)'));
  const address = Buffer.alloc(12);
  address.writeUInt16LE(afNetlink, 0);
  address.writeUInt32LE(groupNeighbours, 8);
  check(bindFn(fd.value, address, address.length), 'bind(AF_NETLINK)', fd.value);
  const memory = Buffer.alloc(64 * 1024);
  const send = (message: Buffer): void =>
    void check(sendFn(fd.value, message, message.length, 0), 'send(AF_NETLINK)', fd.value);
  const requestAll = (): void => send(encodeMessage(getNeighbours, flagDump, { interfaceIndex }));
  return {
    requestAll,
    read: () => readChanges(fd.value, memory, interfaceIndex, requestAll),
    wait(timeoutMs) {
      const entry = Buffer.alloc(8);
      entry.writeInt32LE(fd.value, 0);
      entry.writeInt16LE(pollIn, 4);
      return pollFn(entry, 1, timeoutMs) > 0;
    },
    resolve: (of) =>
      send(
        encodeMessage(newNeighbour, flagReplaceCreate, { interfaceIndex, address: of, flags: neighbourUse }),
      ),
    verify: (of, mac) =>
      send(
        encodeMessage(newNeighbour, flagReplaceCreate, {
          interfaceIndex,
          address: of,
          state: states.probe,
          mac,
        }),
      ),
    forget: (of) => send(encodeMessage(deleteNeighbour, 0, { interfaceIndex, address: of })),
    close: () => fd.close(),
  };
}

function readChanges(fd: number, memory: Buffer, interfaceIndex: number, resync: () => void): Neighbour[] {
  const found: Neighbour[] = [];
  for (;;) {
    const bytes = recvFn(fd, memory, memory.length, msgDontwait);
    if (bytes < 0) {
      const error = lastErrno();
      if (error === errno.EAGAIN) return found;
      if (error !== errno.ENOBUFS) throw new SyscallError('recv(AF_NETLINK)', error, fd);
      // Changes were lost: the whole table says what they were.
      resync();
      continue;
    }
    for (const entry of parseNeighbours(memory.subarray(0, bytes))) {
      if (entry.interfaceIndex === interfaceIndex) found.push(entry);
    }
  }
}

/** What a request says. */
interface NeighbourRequest {
  readonly interfaceIndex: number;
  readonly address?: string;
  readonly state?: number;
  readonly flags?: number;
  readonly mac?: Uint8Array;
}

/** struct nlmsghdr (16), struct ndmsg (12), attributes. */
function encodeMessage(type: number, flags: number, request: NeighbourRequest): Buffer {
  const address = request.address === undefined ? undefined : addressBytes(request.address);
  const out = Buffer.alloc(
    28 + (address === undefined ? 0 : 4 + address.length) + (request.mac === undefined ? 0 : 12),
  );
  out.writeUInt32LE(out.length, 0);
  out.writeUInt16LE(type, 4);
  out.writeUInt16LE(flagRequest | flags, 6);
  if (address !== undefined) out[16] = address.length === 4 ? afInet : afInet6;
  out.writeInt32LE(request.interfaceIndex, 20);
  out.writeUInt16LE(request.state ?? 0, 24);
  out[26] = request.flags ?? 0;
  let at = 28;
  if (address !== undefined) {
    out.writeUInt16LE(4 + address.length, at);
    out.writeUInt16LE(attrDestination, at + 2);
    out.set(address, at + 4);
    at += 4 + address.length;
  }
  if (request.mac !== undefined) {
    out.writeUInt16LE(10, at);
    out.writeUInt16LE(attrMac, at + 2);
    out.set(request.mac, at + 4);
  }
  return out;
}

function addressBytes(address: string): Uint8Array {
  const bytes = encodeAddress(address);
  return isIpv4(normalizeAddress(address)) ? bytes.subarray(12) : bytes;
}

/** Neighbour entries of one netlink datagram; other messages are skipped. */
export function parseNeighbours(datagram: Buffer): Neighbour[] {
  const found: Neighbour[] = [];
  for (let at = 0; at + 16 <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    const type = datagram.readUInt16LE(at + 4);
    if (length < 16 || at + length > datagram.length)
      throw new RestitchError(
        'internal',
        `netlink message of ${length} bytes at ${at} of ${datagram.length}`,
      );
    if (type !== messageDone && type !== messageError) {
      const entry = parseEntry(datagram.subarray(at, at + length), type);
      if (entry !== undefined) found.push(entry);
    }
    at += (length + 3) & ~3;
  }
  return found;
}

function parseEntry(message: Buffer, type: number): Neighbour | undefined {
  if ((type !== newNeighbour && type !== deleteNeighbour) || message.length < 28) return undefined;
  const family = message[16];
  if (family !== afInet && family !== afInet6) return undefined;
  const state = message.readUInt16LE(24);
  let address: string | undefined;
  let mac: Buffer | undefined;
  for (let at = 28; at + 4 <= message.length; ) {
    const length = message.readUInt16LE(at);
    if (length < 4 || at + length > message.length) break;
    const value = message.subarray(at + 4, at + length);
    const kind = message.readUInt16LE(at + 2) & 0x3fff;
    if (kind === attrDestination) address = addressText(value);
    if (kind === attrMac && value.length === 6) mac = Buffer.from(value);
    at += (length + 3) & ~3;
  }
  if (address === undefined) return undefined;
  const name =
    (Object.keys(states) as (keyof typeof states)[]).find((key) => states[key] === state) ?? 'none';
  const interfaceIndex = message.readInt32LE(20);
  return { address, interfaceIndex, mac, state: type === deleteNeighbour ? 'gone' : name };
}

function addressText(value: Buffer): string | undefined {
  if (value.length === 16) return decodeAddress(value);
  return value.length === 4 ? value.join('.') : undefined;
}
