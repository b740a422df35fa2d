/** TCP segments between client and VIP: read out of held frames, and written whole (IP header, checksums) to send. */
import { encodeAddress, isIpv4 } from '@restitch/core';
import type { Flow } from '@restitch/core';

/** TCP flag bits (RFC 9293 §3.1). */
export const segmentFlags = { fin: 0x01, syn: 0x02, rst: 0x04, ack: 0x10 } as const;

/** What a reset needs to know of a segment. */
export interface Segment {
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
}

const ethernetBytes = 14;
const protocolTcp = 6;
const typeIpv4 = 0x0800;
const typeIpv6 = 0x86dd;
const typeVlan = 0x8100;

/** The TCP header of a frame; undefined if there is none to be read (fragments, extension headers). */
export function readSegment(frame: Uint8Array): Segment | undefined {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  if (bytes.length < ethernetBytes + 40) return undefined;
  const isTagged = bytes.readUInt16BE(12) === typeVlan;
  const type = bytes.readUInt16BE(isTagged ? 16 : 12);
  const ip = ethernetBytes + (isTagged ? 4 : 0);
  let tcp: number;
  if (type === typeIpv4) {
    const isFragment = (bytes.readUInt16BE(ip + 6) & 0x3fff) !== 0;
    if (bytes[ip + 9] !== protocolTcp || isFragment) return undefined;
    tcp = ip + ((bytes[ip] ?? 0) & 0x0f) * 4;
  } else if (type === typeIpv6) {
    if (bytes[ip + 6] !== protocolTcp) return undefined;
    tcp = ip + 40;
  } else return undefined;
  if (bytes.length < tcp + 20) return undefined;
  return { seq: bytes.readUInt32BE(tcp + 4), ack: bytes.readUInt32BE(tcp + 8), flags: bytes[tcp + 13] ?? 0 };
}

/** An IP packet from the flow's VIP to its client: one segment without data and without window. */
export function writeSegment(flow: Flow, { seq, ack, flags }: Segment): Buffer {
  const tcp = Buffer.alloc(20);
  tcp.writeUInt16BE(flow.vip.port, 0);
  tcp.writeUInt16BE(flow.client.port, 2);
  tcp.writeUInt32BE(seq >>> 0, 4);
  tcp.writeUInt32BE(ack >>> 0, 8);
  tcp[12] = 5 << 4;
  tcp[13] = flags;
  const source = encodeAddress(flow.vip.address);
  const destination = encodeAddress(flow.client.address);
  const isV4 = isIpv4(flow.vip.address);
  const ends = isV4 ? [source.subarray(12), destination.subarray(12)] : [source, destination];
  const pseudo = Buffer.concat([...ends, Buffer.from([0, protocolTcp, 0, tcp.length])]);
  tcp.writeUInt16BE(checksum(Buffer.concat([pseudo, tcp])), 16);
  const ip = Buffer.alloc(isV4 ? 20 : 40);
  if (isV4) {
    ip[0] = 0x45;
    ip.writeUInt16BE(ip.length + tcp.length, 2);
    ip[8] = 64;
    ip[9] = protocolTcp;
    Buffer.concat(ends).copy(ip, 12);
    ip.writeUInt16BE(checksum(ip), 10);
  } else {
    ip[0] = 0x60;
    ip.writeUInt16BE(tcp.length, 4);
    ip[6] = protocolTcp;
    ip[7] = 64;
    Buffer.concat(ends).copy(ip, 8);
  }
  return Buffer.concat([ip, tcp]);
}

/** RFC 1071; `bytes` of even length. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
