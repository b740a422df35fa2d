/**
 * ICMP and ICMPv6 echo (RFC 792, RFC 4443 §4) over raw sockets: the other host's kernel answers, whatever its processes do.
 *
 * Replies are stamped by our kernel when they arrive (SIOCGSTAMPNS), so they may be fetched whenever it suits: nobody has to
 * wake up for each, and a slow event loop does not make a path look slow.
 */
import { randomBytes } from 'node:crypto';
import { isIpv4 } from '@restitch/core';
import { Fd } from './fd.js';
import { SyscallError, errno, lastErrno, libc } from './libc.js';
import { afInet, afInet6, encodeSocketAddress, socketAddressBytes } from './socket-address.js';
import { openSocket, receiveBytes, setBufferOption } from './socket.js';

const sendtoFn = libc.declare(
  'long sendto(int fd, void *data, size_t length, int flags, void *address, unsigned int addressLength)',
);
const stampFn = libc.declare('int ioctl(int fd, unsigned long request, void *argument)');
const clockGettimeFn = libc.declare('int clock_gettime(int clock, void *timespec)');

const sockRaw = 3;
const msgDontwait = 0x40;
const siocgstampns = 0x8907;
const protocols = { [afInet]: 1, [afInet6]: 58 } as const;
/** Type of request and reply, and the option that lets only replies through (linux/icmp.h, linux/icmpv6.h). */
const kinds = {
  [afInet]: { request: 8, reply: 0, level: 255, option: 1 },
  [afInet6]: { request: 128, reply: 129, level: 58, option: 1 },
} as const;
const icmpBytes = 8;
const nonceBytes = 8;
/** Replies fetched at once: all that a second's probes of a thousand paths bring, and no endless loop in a flood. */
const maxReplies = 4096;

type Family = typeof afInet | typeof afInet6;

/** A reply to a request of this object. */
export interface EchoReply {
  readonly sequence: number;
  /** When it came, CLOCK_REALTIME, microseconds. */
  readonly receivedUs: number;
}

/** Requests and replies; `sequence` is 16 bits wide. */
export interface IcmpEcho {
  /** CLOCK_REALTIME in microseconds when it left; undefined if the kernel had no way or no room for it. */
  send(to: string, sequence: number): number | undefined;
  /** Replies that have come since the last time. */
  receive(): EchoReply[];
  close(): void;
}

/** Opens one socket a family when it is first needed, in the namespace of that moment. Needs CAP_NET_RAW. */
export function openIcmpEcho(): IcmpEcho {
  return new RawEcho();
}

class RawEcho implements IcmpEcho {
  readonly #sockets = new Map<Family, Fd>();
  readonly #identifier = randomBytes(2);
  readonly #nonce = randomBytes(nonceBytes);
  readonly #address = Buffer.alloc(socketAddressBytes);
  readonly #packet = Buffer.alloc(icmpBytes + nonceBytes);
  readonly #received = Buffer.alloc(2048);
  readonly #timespec = Buffer.alloc(16);

  send(to: string, sequence: number): number | undefined {
    const family = isIpv4(to) ? afInet : afInet6;
    const fd = this.#socket(family);
    const packet = this.#packet;
    packet.fill(0, 0, icmpBytes);
    packet.writeUInt8(kinds[family].request, 0);
    this.#identifier.copy(packet, 4);
    packet.writeUInt16BE(sequence, 6);
    this.#nonce.copy(packet, icmpBytes);
    // The kernel sums up ICMPv6 by itself, because the pseudo header needs the source address.
    if (family === afInet) packet.writeUInt16BE(checksum(packet), 2);
    const bytes = encodeSocketAddress({ address: to, port: 0 }, family, this.#address);
    const sentUs = this.#realtimeUs();
    if (sendtoFn(fd.value, packet, packet.length, msgDontwait, this.#address, bytes) >= 0) return sentUs;
    const error = lastErrno();
    if (noWay.has(error)) return undefined;
    throw new SyscallError('sendto', error, fd.value, `echo request to ${to}`);
  }

  receive(): EchoReply[] {
    const replies: EchoReply[] = [];
    for (const [family, fd] of this.#sockets) {
      for (let n = 0; n < maxReplies; n++) {
        const length = receiveBytes(fd.value, this.#received);
        if (length < 0) break;
        const reply = this.#parse(family, fd, length);
        if (reply !== undefined) replies.push(reply);
      }
    }
    return replies;
  }

  close(): void {
    for (const fd of this.#sockets.values()) fd.close();
    this.#sockets.clear();
  }

  #socket(family: Family): Fd {
    const known = this.#sockets.get(family);
    if (known !== undefined) return known;
    const fd = new Fd(openSocket(family, sockRaw, protocols[family]));
    const { level, option } = kinds[family];
    setBufferOption(fd.value, level, option, replyFilter(family));
    // The first call fails and turns stamping on for what comes from now on.
    stampFn(fd.value, siocgstampns, this.#timespec);
    this.#sockets.set(family, fd);
    return fd;
  }

  #parse(family: Family, fd: Fd, length: number): EchoReply | undefined {
    const raw = this.#received;
    const at = family === afInet ? (raw.readUInt8(0) & 15) * 4 : 0;
    if (length < at + icmpBytes + nonceBytes || raw.readUInt8(at) !== kinds[family].reply) return undefined;
    if (raw.compare(this.#identifier, 0, 2, at + 4, at + 6) !== 0) return undefined;
    if (raw.compare(this.#nonce, 0, nonceBytes, at + icmpBytes, at + icmpBytes + nonceBytes) !== 0)
      return undefined;
    if (stampFn(fd.value, siocgstampns, this.#timespec) < 0) return undefined;
    return { sequence: raw.readUInt16BE(at + 6), receivedUs: toUs(this.#timespec) };
  }

  #realtimeUs(): number {
    clockGettimeFn(0, this.#timespec);
    return toUs(this.#timespec);
  }
}

const noWay: ReadonlySet<number> = new Set([
  errno.EAGAIN,
  errno.ENETUNREACH,
  errno.ENOBUFS,
  errno.EHOSTUNREACH,
]);

function toUs(timespec: Buffer): number {
  return Number(timespec.readBigInt64LE(0)) * 1e6 + Number(timespec.readBigInt64LE(8)) / 1e3;
}

/** A set bit keeps a type out. */
function replyFilter(family: Family): Buffer {
  const { reply } = kinds[family];
  const filter = Buffer.alloc(family === afInet ? 4 : 32, 0xff);
  const word = (reply >> 5) * 4;
  filter.writeUInt32LE((filter.readUInt32LE(word) & ~(1 << (reply & 31))) >>> 0, word);
  return filter;
}

/** RFC 1071. */
function checksum(packet: Buffer): number {
  let sum = 0;
  for (let i = 0; i < packet.length; i += 2) sum += packet.readUInt16BE(i);
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}
