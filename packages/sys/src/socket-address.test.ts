import { describe, expect, it } from 'vitest';
import { afInet, afInet6, decodeSocketAddress, encodeSocketAddress, familyOf } from './socket-address.js';

const encode = (address: string, port: number, family: number): string => {
  const out = Buffer.alloc(28, 0xff);
  return out.toString('hex', 0, encodeSocketAddress({ address, port }, family, out));
};

describe('socket addresses', () => {
  it.each([
    ['10.0.0.1', 7000, afInet, '02001b580a0000010000000000000000'],
    ['fd09::1', 443, afInet6, '0a0001bb00000000fd09000000000000000000000000000100000000'],
    ['10.0.0.1', 443, afInet6, '0a0001bb0000000000000000000000000000ffff0a00000100000000'],
  ])('%s port %i of family %i is what the kernel wants', (address, port, family, wanted) => {
    expect(encode(address, port, family)).toBe(wanted);
    expect(decodeSocketAddress(Buffer.from(wanted, 'hex'))).toEqual({ address, port });
  });

  it('an IPv6 address has no place on an IPv4 socket', () => {
    expect(() => encode('fd09::1', 1, afInet)).toThrow(/not an IPv4 address/);
    expect(familyOf('fd09::1')).toBe(afInet6);
  });

  it('another family is refused', () => {
    expect(() => decodeSocketAddress(Buffer.from('0100000000000000', 'hex'))).toThrow(/family 1/);
  });
});
