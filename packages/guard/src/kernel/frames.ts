/** TCP frames for tests: built with right checksums, taken apart with the checksums verified. */
import { encodeAddress, type Flow, isIpv4 } from '@restitch/core';

/** One frame from the VIP to the client. */
export interface Frame {
  readonly flow: Flow;
  readonly seq: number;
  readonly ack: number;
  /** Letters of S, A, F, R, P. */
  readonly flags: string;
  readonly window: number;
  readonly payload: Buffer;
  /** Raw option bytes, a multiple of 4. */
  readonly options: Buffer;
  /** EtherTypes of VLAN tags in the frame, from the outside in. */
  readonly tags: readonly number[];
  /** Bytes of a destination options header before TCP, a multiple of 8; IPv6 only. */
  readonly extensionBytes: number;
}

/** A frame and whether its checksums are right. */
export interface ParsedFrame extends Frame {
  readonly isSound: boolean;
}

/** EtherTypes of VLAN tags: a customer's (IEEE 802.1Q) and a provider's (802.1ad). */
export const etherTypes = { vlan: 0x8100, providerVlan: 0x88a8 } as const;

const protocolTcp = 6;
const protocolDestinationOptions = 60;
const flagBits = { F: 1, S: 2, R: 4, P: 8, A: 16 } as const;

/** The frame with its Ethernet header. */
export function buildFrame(frame: Partial<Frame> & Pick<Frame, 'flow'>): Buffer {
  const { flow, seq = 1000, ack = 5000, flags = 'A', window = 100 } = frame;
  const payload = frame.payload ?? Buffer.alloc(0);
  const options = frame.options ?? Buffer.alloc(0);
  const tcp = Buffer.concat([Buffer.alloc(20), options, payload]);
  tcp.writeUInt16BE(flow.vip.port, 0);
  tcp.writeUInt16BE(flow.client.port, 2);
  tcp.writeUInt32BE(seq >>> 0, 4);
  tcp.writeUInt32BE(ack >>> 0, 8);
  tcp[12] = ((20 + options.length) / 4) << 4;
  tcp[13] = [...flags].reduce((bits, f) => bits | flagBits[f as keyof typeof flagBits], 0);
  tcp.writeUInt16BE(window, 14);
  const isV4 = isIpv4(flow.vip.address);
  const ip = isV4 ? ipv4(flow, tcp.length) : ipv6(flow, tcp.length, frame.extensionBytes ?? 0);
  tcp.writeUInt16BE(checksum(Buffer.concat([pseudo(ip, tcp.length), tcp])), 16);
  const tags = (frame.tags ?? []).map((type, i) => Buffer.from([type >> 8, type & 0xff, 0, 7 + i]));
  const protocol = Buffer.from(isV4 ? '0800' : '86dd', 'hex');
  return Buffer.concat([Buffer.from('020000000001020000000002', 'hex'), ...tags, protocol, ip, tcp]);
}

/** What a frame says. */
export function parseFrame(frame: Buffer): ParsedFrame {
  const tags: number[] = [];
  const isTag = (type: number): boolean => type === etherTypes.vlan || type === etherTypes.providerVlan;
  while (isTag(frame.readUInt16BE(12 + 4 * tags.length))) tags.push(frame.readUInt16BE(12 + 4 * tags.length));
  const ipAt = 14 + 4 * tags.length;
  const isV4 = frame.readUInt16BE(ipAt - 2) === 0x0800;
  const hasExtension = !isV4 && frame[ipAt + 6] === protocolDestinationOptions;
  const extensionBytes = hasExtension ? 8 + 8 * (frame[ipAt + 41] ?? 0) : 0;
  const ipBytes = isV4 ? 20 : 40 + extensionBytes;
  const ip = frame.subarray(ipAt, ipAt + ipBytes);
  const tcp = frame.subarray(ipAt + ipBytes, ipAt + (isV4 ? ip.readUInt16BE(2) : 40 + ip.readUInt16BE(4)));
  const header = ((tcp[12] ?? 0) >> 4) * 4;
  const text = (from: number): string =>
    isV4 ? [...ip.subarray(from, from + 4)].join('.') : ip.subarray(from, from + 16).toString('hex');
  const sums = checksum(Buffer.concat([pseudo(ip, tcp.length), tcp])) === 0 && (!isV4 || checksum(ip) === 0);
  return {
    flow: {
      vip: { address: text(isV4 ? 12 : 8), port: tcp.readUInt16BE(0) },
      client: { address: text(isV4 ? 16 : 24), port: tcp.readUInt16BE(2) },
    },
    seq: tcp.readUInt32BE(4),
    ack: tcp.readUInt32BE(8),
    flags: Object.entries(flagBits)
      .filter(([, bit]) => (tcp[13] ?? 0) & bit)
      .map(([f]) => f)
      .join(''),
    window: tcp.readUInt16BE(14),
    options: Buffer.from(tcp.subarray(20, header)),
    payload: Buffer.from(tcp.subarray(header)),
    tags,
    extensionBytes,
    isSound: sums,
  };
}

function ipv4(flow: Flow, tcpBytes: number): Buffer {
  const ip = Buffer.alloc(20);
  ip[0] = 0x45;
  ip.writeUInt16BE(20 + tcpBytes, 2);
  ip[8] = 64;
  ip[9] = 6;
  ip.set(encodeAddress(flow.vip.address).subarray(12), 12);
  ip.set(encodeAddress(flow.client.address).subarray(12), 16);
  ip.writeUInt16BE(checksum(ip), 10);
  return ip;
}

function ipv6(flow: Flow, tcpBytes: number, extensionBytes: number): Buffer {
  const ip = Buffer.alloc(40 + extensionBytes);
  ip[0] = 0x60;
  ip.writeUInt16BE(extensionBytes + tcpBytes, 4);
  ip[6] = protocolTcp;
  if (extensionBytes > 0) {
    ip[6] = protocolDestinationOptions;
    ip[40] = protocolTcp;
    ip[41] = extensionBytes / 8 - 1;
    // One PadN option over the whole of it (RFC 8200 §4.2).
    ip[42] = 1;
    ip[43] = extensionBytes - 4;
  }
  ip[7] = 64;
  ip.set(encodeAddress(flow.vip.address), 8);
  ip.set(encodeAddress(flow.client.address), 24);
  return ip;
}

function pseudo(ip: Buffer, tcpBytes: number): Buffer {
  const tail = Buffer.from([0, 6, tcpBytes >> 8, tcpBytes & 0xff]);
  return Buffer.concat([ip.length === 20 ? ip.subarray(12, 20) : ip.subarray(8, 40), tail]);
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
