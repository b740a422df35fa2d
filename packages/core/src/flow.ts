/**
 * A flow: one TCP connection as packets see it, named by the client's and the VIP's address and port.
 *
 * Addresses are 16 bytes from the first day: IPv4 travels as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), so that BPF keys,
 * images and messages have one shape.
 */
import { RestitchError } from './errors.js';

/** Address text as the user writes it (`10.0.0.1` or `2001:db8::1`) and a port 1..65535. */
export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

/** A client's end and the virtual end it talks to. */
export interface Flow {
  readonly client: SocketAddress;
  readonly vip: SocketAddress;
}

/** Bytes of an encoded flow key: client address 16, VIP address 16, client port 2, VIP port 2 (network order). */
export const flowKeyBytes = 36;

/** True for IPv4 text. */
export function isIpv4(address: string): boolean {
  return parseIpv4(address) >= 0;
}

/** Dotted IPv4 as a number 0 … 2³²−1, or −1. By hand: the data plane encodes a flow with every command. */
function parseIpv4(address: string): number {
  let value = 0;
  let octet = 0;
  let digits = 0;
  let dots = 0;
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i);
    if (code === 46 && digits > 0) {
      value = value * 256 + octet;
      dots += 1;
      octet = 0;
      digits = 0;
    } else if (code >= 48 && code <= 57 && digits < 3) {
      octet = octet * 10 + code - 48;
      digits += 1;
      if (octet > 255) return -1;
    } else return -1;
  }
  return dots === 3 && digits > 0 ? value * 256 + octet : -1;
}

/** Address text to 16 bytes, IPv4 mapped. Throws `usage` for anything else. */
export function encodeAddress(address: string, out: Uint8Array = new Uint8Array(16), offset = 0): Uint8Array {
  const ipv4 = parseIpv4(address);
  if (ipv4 >= 0) {
    for (let i = 0; i < 10; i++) out[offset + i] = 0;
    out[offset + 10] = 0xff;
    out[offset + 11] = 0xff;
    out[offset + 12] = ipv4 >>> 24;
    out[offset + 13] = (ipv4 >>> 16) & 0xff;
    out[offset + 14] = (ipv4 >>> 8) & 0xff;
    out[offset + 15] = ipv4 & 0xff;
    return out;
  }
  const groups = parseIpv6Groups(address);
  groups.forEach((group, i) => {
    out[offset + 2 * i] = group >> 8;
    out[offset + 2 * i + 1] = group & 0xff;
  });
  return out;
}

/** 16 bytes to address text; mapped addresses come back as IPv4, IPv6 in RFC 5952 form. */
export function decodeAddress(bytes: Uint8Array, offset = 0): string {
  let isMapped = bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff;
  for (let i = offset; i < offset + 10 && isMapped; i++) isMapped = bytes[i] === 0;
  const last = offset + 12;
  if (isMapped) return `${bytes[last]}.${bytes[last + 1]}.${bytes[last + 2]}.${bytes[last + 3]}`;
  const groups: number[] = [];
  for (let i = offset; i < offset + 16; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  return formatIpv6Groups(groups);
}

/** A flow as its 36-byte key, the layout of `struct flow_key` in bpf/common/flow-key.h. */
export function encodeFlowKey(
  flow: Flow,
  out: Uint8Array = new Uint8Array(flowKeyBytes),
  offset = 0,
): Uint8Array {
  encodeAddress(flow.client.address, out, offset);
  encodeAddress(flow.vip.address, out, offset + 16);
  out[offset + 32] = flow.client.port >> 8;
  out[offset + 33] = flow.client.port & 0xff;
  out[offset + 34] = flow.vip.port >> 8;
  out[offset + 35] = flow.vip.port & 0xff;
  return out;
}

/** The inverse of `encodeFlowKey`. */
export function decodeFlowKey(bytes: Uint8Array, offset = 0): Flow {
  const port = (i: number): number => ((bytes[offset + i] ?? 0) << 8) | (bytes[offset + i + 1] ?? 0);
  return {
    client: { address: decodeAddress(bytes, offset), port: port(32) },
    vip: { address: decodeAddress(bytes, offset + 16), port: port(34) },
  };
}

/** `10.0.0.2:5000` or `[2001:db8::1]:5000`. */
export function formatSocketAddress(a: SocketAddress): string {
  return a.address.includes(':') ? `[${a.address}]:${a.port}` : `${a.address}:${a.port}`;
}

/** `client>vip`, the text used in logs, tables and as a Map key. Addresses are normalised by the caller. */
export function formatFlow(flow: Flow): string {
  return `${formatSocketAddress(flow.client)}>${formatSocketAddress(flow.vip)}`;
}

/** The address as restitch writes it everywhere (`::ffff:10.0.0.1` becomes `10.0.0.1`, IPv6 in RFC 5952 form). */
export function normalizeAddress(address: string): string {
  return decodeAddress(encodeAddress(address));
}

function parseIpv6Groups(address: string): number[] {
  const bad = (): RestitchError =>
    new RestitchError('usage', `not an IP address: ${JSON.stringify(address)}`);
  let text = address.toLowerCase();
  const lastColon = text.lastIndexOf(':');
  const tail = text.slice(lastColon + 1);
  if (lastColon >= 0 && isIpv4(tail)) {
    const [a = 0, b = 0, c = 0, d = 0] = tail.split('.').map(Number);
    text = `${text.slice(0, lastColon + 1)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const halves = text.split('::');
  if (halves.length > 2 || !/^[0-9a-f:]+$/.test(text)) throw bad();
  const toGroups = (part: string): number[] =>
    part === ''
      ? []
      : part.split(':').map((group) => {
          if (!/^[0-9a-f]{1,4}$/.test(group)) throw bad();
          return Number.parseInt(group, 16);
        });
  const head = toGroups(halves[0] ?? '');
  if (halves.length === 1) {
    if (head.length !== 8) throw bad();
    return head;
  }
  const rest = toGroups(halves[1] ?? '');
  const missing = 8 - head.length - rest.length;
  if (missing < 1) throw bad();
  return [...head, ...Array.from({ length: missing }, () => 0), ...rest];
}

function formatIpv6Groups(groups: readonly number[]): string {
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > length) {
      start = i;
      length = j - i;
    }
    if (j > i) i = j;
  }
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (i === start) {
      text += '::';
      i += length - 1;
    } else {
      if (text !== '' && !text.endsWith(':')) text += ':';
      text += (groups[i] ?? 0).toString(16);
    }
  }
  return text;
}
