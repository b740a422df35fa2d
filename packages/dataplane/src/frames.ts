/**
 * Ethernet frames as bytes, for test runs of the programs: TCP over IPv4 and IPv6, with VLAN tag, fragments, IPv6
 * extension headers and ICMP errors. The IPv4 header has its checksum (bridges look at it), TCP and ICMP have zero: the
 * programs neither read nor write them.
 */
import { encodeAddress, isIpv4 } from '@restitch/core';
import type { SocketAddress } from '@restitch/core';

/** TCP flag bits (RFC 9293 §3.1). */
export const tcpFlags = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10 } as const;

/** Part of a fragmented datagram; `offset` in units of 8 bytes. */
interface FragmentPart {
  readonly id: number;
  readonly offset: number;
  readonly more: boolean;
}

/** A TCP segment to build. */
export interface TcpFrame {
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
  readonly flags: number;
  readonly payload?: string;
  /** Number of a VLAN whose tag is in the frame. */
  readonly vlan?: number;
  /** EtherTypes of its tags, from the outside in; default one of 802.1Q. */
  readonly vlanTypes?: readonly number[];
  readonly fragment?: FragmentPart;
  /** IPv6 destination options header in front of TCP. */
  readonly hasExtension?: boolean;
}

/** An ICMP error that quotes a segment the VIP sent. */
export interface IcmpErrorFrame {
  /** Whoever reports: a router. */
  readonly reporter: string;
  readonly quotedSource: SocketAddress;
  readonly quotedDestination: SocketAddress;
  /** Default: fragmentation needed, packet too big. */
  readonly type?: number;
  /** IP protocol of the quoted packet; default TCP. */
  readonly quotedProtocol?: number;
}

/** MACs that built frames carry: towards 02:aa…01, from 02:cc…02. */
const frameMacs = {
  destination: Buffer.from('02aa00000001', 'hex'),
  source: Buffer.from('02cc00000002', 'hex'),
} as const;

const protocolTcp = 6;
const protocolFragment = 44;
const protocolDestinationOptions = 60;

/** A frame with one TCP segment or a part of one (a later fragment carries only payload). */
export function buildTcpFrame(frame: TcpFrame): Buffer {
  const isLater = (frame.fragment?.offset ?? 0) > 0;
  const payload = Buffer.from(frame.payload ?? '');
  const body = isLater ? payload : Buffer.concat([tcpHeader(frame), payload]);
  const isV4 = isIpv4(frame.source.address);
  const packet = isV4 ? wrapIpv4(frame, protocolTcp, body) : wrapIpv6(frame, body);
  return Buffer.concat([ethernetHeader(isV4, frame), packet]);
}

/** A frame with an ICMP or ICMPv6 error to the quoted source. */
export function buildIcmpError(frame: IcmpErrorFrame): Buffer {
  const isV4 = isIpv4(frame.reporter);
  const ports = Buffer.alloc(8);
  ports.writeUInt16BE(frame.quotedSource.port, 0);
  ports.writeUInt16BE(frame.quotedDestination.port, 2);
  const ends = { source: frame.quotedSource, destination: frame.quotedDestination };
  const protocol = frame.quotedProtocol ?? protocolTcp;
  const quoted = isV4 ? ipv4Header(ends, protocol, ports.length) : ipv6Header(ends, protocol, ports.length);
  const icmp = Buffer.alloc(8);
  icmp[0] = frame.type ?? (isV4 ? 3 : 2);
  if (isV4) icmp[1] = 4;
  const body = Buffer.concat([icmp, quoted, ports]);
  const outer = { source: { address: frame.reporter, port: 0 }, destination: frame.quotedSource };
  const header = isV4 ? ipv4Header(outer, 1, body.length) : ipv6Header(outer, 58, body.length);
  return Buffer.concat([ethernetHeader(isV4), header, body]);
}

interface Ends {
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
}

function ethernetHeader(
  isV4: boolean,
  { vlan, vlanTypes = [0x8100] }: Pick<TcpFrame, 'vlan' | 'vlanTypes'> = {},
): Buffer {
  const protocol = Buffer.from(isV4 ? '0800' : '86dd', 'hex');
  const { destination, source } = frameMacs;
  if (vlan === undefined) return Buffer.concat([destination, source, protocol]);
  const tags = Buffer.from(Uint16Array.from(vlanTypes.flatMap((type) => [type, vlan])).buffer).swap16();
  return Buffer.concat([destination, source, tags, protocol]);
}

function tcpHeader(frame: TcpFrame): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(frame.source.port, 0);
  header.writeUInt16BE(frame.destination.port, 2);
  header[12] = 5 << 4;
  header[13] = frame.flags;
  return header;
}

function wrapIpv4(frame: TcpFrame, protocol: number, body: Buffer): Buffer {
  const header = ipv4Header(frame, protocol, body.length);
  if (frame.fragment !== undefined) {
    header.writeUInt16BE(frame.fragment.id, 4);
    header.writeUInt16BE((frame.fragment.more ? 0x2000 : 0) | frame.fragment.offset, 6);
    sumIpv4(header);
  }
  return Buffer.concat([header, body]);
}

function wrapIpv6(frame: TcpFrame, body: Buffer): Buffer {
  const parts = [body];
  let next = protocolTcp;
  if (frame.hasExtension === true) {
    const options = Buffer.alloc(8);
    options[0] = next;
    parts.unshift(options);
    next = protocolDestinationOptions;
  }
  if (frame.fragment !== undefined) {
    const header = Buffer.alloc(8);
    header[0] = next;
    header.writeUInt16BE((frame.fragment.offset << 3) | (frame.fragment.more ? 1 : 0), 2);
    header.writeUInt32BE(frame.fragment.id, 4);
    parts.unshift(header);
    next = protocolFragment;
  }
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([ipv6Header(frame, next, bytes), ...parts]);
}

function ipv4Header(ends: Ends, protocol: number, bodyBytes: number): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + bodyBytes, 2);
  header[8] = 64;
  header[9] = protocol;
  header.set(encodeAddress(ends.source.address).subarray(12), 12);
  header.set(encodeAddress(ends.destination.address).subarray(12), 16);
  return sumIpv4(header);
}

/** Writes the header checksum (RFC 791 §3.1). */
function sumIpv4(header: Buffer): Buffer {
  header.writeUInt16BE(0, 10);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += header.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  header.writeUInt16BE(~sum & 0xffff, 10);
  return header;
}

function ipv6Header(ends: Ends, nextHeader: number, bodyBytes: number): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(bodyBytes, 4);
  header[6] = nextHeader;
  header[7] = 64;
  encodeAddress(ends.source.address, header, 8);
  encodeAddress(ends.destination.address, header, 24);
  return header;
}
