import { BlockList, isIP, isIPv4 as nodeIsIpv4 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Flow,
  decodeAddress,
  decodeFlowKey,
  encodeAddress,
  encodeFlowKey,
  flowKeyBytes,
  formatFlow,
  isIpv4,
  normalizeAddress,
} from './flow.js';

const port = fc.integer({ min: 1, max: 65535 });
const address = fc.oneof(fc.ipV4(), fc.ipV6());

/** The WHATWG URL serialiser follows RFC 5952 but for mapped addresses, which it writes in hexadecimal. */
function urlForm(ipv6: string): string {
  return new URL(`http://[${ipv6}]`).hostname.slice(1, -1);
}

describe('addresses', () => {
  it('come back in RFC 5952 form, as the URL parser writes them', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const ours = normalizeAddress(text);
        if (nodeIsIpv4(ours)) expect(urlForm(text)).toBe(urlForm(`::ffff:${ours}`));
        else expect(ours).toBe(urlForm(text));
      }),
      { numRuns: 1000 },
    );
  });

  it('survive bytes and back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = decodeAddress(bytes);
        expect(isIP(text)).not.toBe(0);
        expect([...encodeAddress(text)]).toEqual([...bytes]);
      }),
      { numRuns: 1000 },
    );
  });

  it('are the same to the kernel of Node: a rule for one form matches the other', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const ours = normalizeAddress(text);
        const list = new BlockList();
        list.addAddress(text, 'ipv6');
        expect(nodeIsIpv4(ours) ? list.check(`::ffff:${ours}`, 'ipv6') : list.check(ours, 'ipv6')).toBe(true);
      }),
    );
  });

  it('are taken or refused exactly as node:net does, leading zeros apart', () => {
    const almost = fc.stringMatching(/^[0-9a-f:.]{0,24}$/);
    fc.assert(
      fc.property(fc.oneof(almost, address), (text) => {
        fc.pre(!/(^|[.:])0\d/.test(text) && !text.includes('%'));
        const isTaken = ((): boolean => {
          try {
            encodeAddress(text);
            return true;
          } catch {
            return false;
          }
        })();
        expect(isTaken).toBe(isIP(text) !== 0);
        expect(isIpv4(text)).toBe(nodeIsIpv4(text));
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:0a00:1', '10.0.0.1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['1:0:2:0:0:0:3:0', '1:0:2::3:0'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1.2.3.4', '::102:304'],
    ['1:2:3:4:5:6:7:0', '1:2:3:4:5:6:7:0'],
  ])('%s is written %s', (text, expected) => {
    expect(normalizeAddress(text)).toBe(expected);
  });

  it.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '12345::',
    'fe80::1%eth0',
    '1.2.3.4::',
    '::1.2.3.256',
    'localhost',
  ])('refuses %j', (text) => {
    expect(() => encodeAddress(text)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

describe('flow keys', () => {
  const flow: fc.Arbitrary<Flow> = fc
    .record({ client: fc.record({ address, port }), vip: fc.record({ address, port }) })
    .map(({ client, vip }) => ({
      client: { ...client, address: normalizeAddress(client.address) },
      vip: { ...vip, address: normalizeAddress(vip.address) },
    }));

  it('survive bytes and back, at any offset', () => {
    fc.assert(
      fc.property(flow, fc.nat(20), (value, offset) => {
        const out = new Uint8Array(flowKeyBytes + offset + 3).fill(0xa5);
        encodeFlowKey(value, out, offset);
        expect(decodeFlowKey(out, offset)).toEqual(value);
        expect(out.subarray(0, offset).every((b) => b === 0xa5)).toBe(true);
        expect(out.subarray(offset + flowKeyBytes).every((b) => b === 0xa5)).toBe(true);
      }),
    );
  });

  it('have the layout of struct flow_key', () => {
    const value = {
      client: { address: '10.0.0.2', port: 0x1234 },
      vip: { address: '2001:db8::1', port: 80 },
    };
    expect(Buffer.from(encodeFlowKey(value)).toString('hex')).toBe(
      '00000000000000000000ffff0a000002' + '20010db8000000000000000000000001' + '1234' + '0050',
    );
    expect(formatFlow(value)).toBe('10.0.0.2:4660>[2001:db8::1]:80');
  });
});
