/** Blocks of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address. IPv4 is counted in its mapped form, 96 bits further. */
import { encodeAddress, isIpv4 } from '@restitch/core';

/** A block; `bits` of the 128 that its addresses share. Bits behind them are zero. */
export interface AddressBlock {
  readonly bytes: Uint8Array;
  readonly bits: number;
}

/** The block a text names; undefined if it names none. */
export function parseCidr(text: string): AddressBlock | undefined {
  const [address = '', length, rest] = text.trim().split('/');
  if (rest !== undefined || (length !== undefined && !/^\d{1,3}$/.test(length))) return undefined;
  try {
    const bytes = encodeAddress(address);
    const most = isIpv4(address) ? 32 : 128;
    const ownBits = length === undefined ? most : Number(length);
    if (ownBits > most) return undefined;
    const bits = 128 - most + ownBits;
    return { bytes: maskBits(bytes, bits), bits };
  } catch {
    return undefined;
  }
}

/** A copy with everything behind the first `bits` zeroed. */
export function maskBits(bytes: Uint8Array, bits: number): Uint8Array {
  return bytes.map((byte, i) => {
    const keep = Math.max(0, Math.min(8, bits - 8 * i));
    return byte & (0xff << (8 - keep)) & 0xff;
  });
}

/** True if one of the two lies within the other. */
export function overlaps(a: AddressBlock, b: AddressBlock): boolean {
  const bits = Math.min(a.bits, b.bits);
  const left = maskBits(a.bytes, bits);
  return maskBits(b.bytes, bits).every((byte, i) => byte === left[i]);
}
