/** `struct sockaddr_in` and `struct sockaddr_in6` (linux/in.h, linux/in6.h) to and from address text. */
import { RestitchError, type SocketAddress, decodeAddress, encodeAddress, isIpv4 } from '@restitch/core';

/** Address family numbers (linux/socket.h). */
export const afInet = 2;
/** IPv6. */
export const afInet6 = 10;

/** Largest socket address handled here: sizeof(struct sockaddr_in6). */
export const socketAddressBytes = 28;

const scratch = new Uint8Array(16);

/** AF_INET for IPv4 text, else AF_INET6. */
export function familyOf(address: string): number {
  return isIpv4(address) ? afInet : afInet6;
}

/**
 * Writes `a` as a sockaddr of the family; IPv4 text on an AF_INET6 socket becomes the mapped address.
 * Returns the number of bytes, 16 or 28. Throws `usage` if the address is no IP address.
 */
export function encodeSocketAddress(a: SocketAddress, family: number, out: Buffer): number {
  const bytes = family === afInet ? 16 : 28;
  out.fill(0, 0, bytes);
  out.writeUInt16LE(family, 0);
  out.writeUInt16BE(a.port, 2);
  if (family === afInet) {
    if (!isIpv4(a.address)) throw new RestitchError('usage', `not an IPv4 address: ${a.address}`);
    encodeAddress(a.address, scratch);
    out.set(scratch.subarray(12), 4);
  } else {
    encodeAddress(a.address, out, 8);
  }
  return bytes;
}

/** The inverse; mapped addresses come back as IPv4 text. Throws `internal` for another family. */
export function decodeSocketAddress(sockaddr: Buffer): SocketAddress {
  const family = sockaddr.readUInt16LE(0);
  const port = sockaddr.readUInt16BE(2);
  if (family === afInet) {
    return { address: `${sockaddr[4]}.${sockaddr[5]}.${sockaddr[6]}.${sockaddr[7]}`, port };
  }
  if (family === afInet6) return { address: decodeAddress(sockaddr, 8), port };
  throw new RestitchError('internal', `socket address of family ${family}`);
}
