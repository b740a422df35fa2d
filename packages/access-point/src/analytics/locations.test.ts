/** Places of clients by table and by .mmdb; the database is written here, by the format's own specification. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeAddress } from '@restitch/core';
import { afterAll, describe, expect, it } from 'vitest';
import { overlaps, parseCidr } from './cidr.js';
import { noLocations, openLocations } from './locations.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-locations-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

describe('a table of places', () => {
  it('finds the longest match, for both families, and nothing where there is none', async () => {
    const locationsFile = file(
      'table',
      '# sites\n10.0.0.0/8  campus\n10.1.0.0/16, campus/lab\n10.1.2.3 one desk # mine\n\n2001:db8::/32\tIX, Frankfurt\n',
    );
    const places = await openLocations({ locationsFile });
    expect(places.find('10.9.9.9')).toBe('campus');
    expect(places.find('10.1.9.9')).toBe('campus/lab');
    expect(places.find('10.1.2.3')).toBe('one desk');
    expect(places.find('2001:db8:1::1')).toBe('IX, Frankfurt');
    expect(places.find('192.0.2.1')).toBeUndefined();
    expect(places.find('2001:db9::1')).toBeUndefined();
  });

  it.each([
    '10.0.0.0/33 x',
    '10.0.0/8 x',
    'x 10.0.0.0/8',
    '10.0.0.0/8',
    `10.0.0.0/8 ${'x'.repeat(65)}`,
    '10.0.0.0/8 a\u001b[2Jb',
    '::/129 x',
    '10.0.0.0/8/8 x',
  ])('with the line %j is refused with its place', async (line) => {
    const locationsFile = file('bad', `10.0.0.0/8 good\n${line}\n`);
    await expect(openLocations({ locationsFile })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('bad:2:') as string,
    });
  });

  it('that is not there is refused; without any file nothing is known', async () => {
    await expect(openLocations({ locationsFile: join(directory, 'none') })).rejects.toMatchObject({
      code: 'config_invalid',
    });
    expect(await openLocations({})).toBe(noLocations);
    expect(noLocations.find('10.0.0.1')).toBeUndefined();
  });
});

/** Values of the MaxMind DB data section (specification 2.0): maps, strings, and unsigned numbers. */
function encodeValue(value: unknown): Buffer {
  if (typeof value === 'string')
    return Buffer.concat([control(2, Buffer.byteLength(value)), Buffer.from(value)]);
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return Buffer.concat([control(6, 4), bytes]);
  }
  const entries = Object.entries(value as object);
  return Buffer.concat([
    control(7, entries.length),
    ...entries.flatMap(([k, v]) => [encodeValue(k), encodeValue(v)]),
  ]);
}
const control = (type: number, size: number): Buffer =>
  size < 29 ? Buffer.from([(type << 5) | size]) : Buffer.from([(type << 5) | 29, size - 29]);

/** A database of IPv6 width with one record; 24-bit pointers. */
function mmdb(cidr: string, record: object): Buffer {
  const [address = '', length] = cidr.split('/');
  // The format keeps IPv4 under ::/96, not in its mapped form.
  const bytes = encodeAddress(address);
  if (!address.includes(':')) bytes.fill(0, 10, 12);
  const bits = Number(length) + (address.includes(':') ? 0 : 96);
  const nodes = Buffer.alloc(bits * 6);
  for (let i = 0; i < bits; i++) {
    const bit = ((bytes[i >> 3] ?? 0) >> (7 - (i & 7))) & 1;
    const next = i === bits - 1 ? bits + 16 : i + 1;
    nodes.writeUIntBE(bit === 0 ? next : bits, i * 6, 3);
    nodes.writeUIntBE(bit === 0 ? bits : next, i * 6 + 3, 3);
  }
  const metadata = encodeValue({
    node_count: bits,
    record_size: 24,
    ip_version: 6,
    database_type: 'Test',
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1,
  });
  return Buffer.concat([
    nodes,
    Buffer.alloc(16),
    encodeValue(record),
    Buffer.from('\u00ab\u00cd\u00efMaxMind.com', 'latin1'),
    metadata,
  ]);
}

describe('a database of places', () => {
  it.each([
    ['country and city', { country: { iso_code: 'DE' }, city: { names: { en: 'Bonn' } } }, 'DE/Bonn'],
    ['a flat country', { country_code: 'CH' }, 'CH'],
    ['a continent only', { continent: { code: 'EU' } }, 'EU'],
    ['something else', { asn: 7 }, undefined],
  ])('with %s', async (_, record, place) => {
    const places = await openLocations({
      locationDatabaseFile: file('db.mmdb', mmdb('192.0.2.0/24', record)),
    });
    expect(places.find('192.0.2.77')).toBe(place);
    expect(places.find('198.51.100.1')).toBeUndefined();
  });

  it('is asked where the table knows nothing', async () => {
    const places = await openLocations({
      locationsFile: file('table2', '2001:db8:1::/48 ours\n'),
      locationDatabaseFile: file('db6.mmdb', mmdb('2001:db8::/32', { country: { iso_code: 'FR' } })),
    });
    expect(places.find('2001:db8:1::1')).toBe('ours');
    expect(places.find('2001:db8:2::1')).toBe('FR');
  });

  it('that is none is refused', async () => {
    const locationDatabaseFile = file('none.mmdb', Buffer.from('hello'));
    await expect(openLocations({ locationDatabaseFile })).rejects.toMatchObject({ code: 'config_invalid' });
  });
});

describe('blocks', () => {
  it.each([
    ['10.1.2.0/24', '10.1.0.0/16', true],
    ['10.1.0.0/16', '10.1.2.3', true],
    ['10.1.0.0/16', '10.2.0.0/16', false],
    ['::ffff:10.1.2.3', '10.1.2.0/24', true],
    ['2001:db8::/32', '2001:db8:5::/48', true],
    ['10.0.0.0/8', '2001:db8::/32', false],
  ])('%s and %s overlap: %s', (a, b, expected) => {
    const [left, right] = [parseCidr(a), parseCidr(b)];
    if (left === undefined || right === undefined) throw new Error('not parsed');
    expect(overlaps(left, right)).toBe(expected);
  });
});
