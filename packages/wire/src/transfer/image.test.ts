import { crc32 } from 'node:zlib';
import { RestitchError } from '@restitch/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type SessionImageBody,
  decodeImage,
  encodeImage,
  imageVersion,
  sessionImageSchema,
} from './image.js';
import { isOrdinaryImage } from './ordinary-image.js';
import { encodePlain } from '../codec/plain-codec.js';

const u32 = fc.nat(0xffffffff);
const bytes = fc.uint8Array({ maxLength: 300 });
const address = fc.record({
  address: fc.constantFrom('10.0.0.1', '2001:db8::1'),
  port: fc.integer({ min: 1, max: 65535 }),
});
const key = fc.stringMatching(/^[a-zA-Z]{1,8}$/);
const state = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true }).map((n) => n + 0), // msgpack writes −0 as 0
    fc.string(),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value as fc.Arbitrary<SessionImageBody['state']>;

const tcp = fc
  .record({
    state: fc.constantFrom(1, 4, 5, 8, 9, 11),
    rcvNxt: u32,
    writeSeq: u32,
    recvQueue: bytes,
    sendQueue: bytes,
    sent: fc.double({ min: 0, max: 1, noNaN: true }),
    finReceived: fc.boolean(),
    finSent: fc.boolean(),
    mssClamp: u32,
    sndWscale: fc.nat(14),
    rcvWscale: fc.nat(14),
    hasWscale: fc.boolean(),
    hasSack: fc.boolean(),
    hasTimestamps: fc.boolean(),
    timestamp: u32,
    window: fc.uint8Array({ minLength: 20, maxLength: 24 }),
    options: fc.dictionary(key, fc.integer(), { maxKeys: 6, noNullPrototype: true }),
    congestion: fc.constantFrom('', 'bbr', 'cubic'),
    keepaliveElapsedMs: u32,
    unackedElapsedMs: u32,
  })
  .map(({ sent, ...rest }) => ({ ...rest, sentBytes: Math.floor(sent * rest.sendQueue.length) }));

const body = fc.record({
  sessionId: fc.stringMatching(/^[a-z0-9]{1,64}$/),
  epoch: fc.nat(0xffffff),
  flow: fc.record({ client: address, vip: address }),
  listener: fc.string({ maxLength: 60 }),
  app: fc.record({ name: fc.string({ maxLength: 60 }), version: fc.string({ maxLength: 60 }) }),
  state,
  tcp,
  unread: bytes,
  unwritten: bytes,
  endPending: fc.boolean(),
  outputEnded: fc.boolean(),
  inputEnded: fc.boolean(),
  openedAtMs: fc.nat(),
  moves: fc.nat(),
  bytesRead: fc.nat(),
  bytesWritten: fc.nat(),
}) as fc.Arbitrary<SessionImageBody>;

/** Bytes compare by content, whichever class carries them. */
function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, comparable(v)]));
  }
  return value;
}

/** Paths to every field, the record of options and the state taken whole. */
function leafPaths(value: unknown, path: readonly string[] = []): string[][] {
  const isLeaf = typeof value !== 'object' || value === null || value instanceof Uint8Array;
  if (isLeaf || path.at(-1) === 'options' || path.at(-1) === 'state') return [[...path]];
  const below = Object.entries(value).flatMap(([key, v]) => leafPaths(v, [...path, key]));
  return path.length === 0 ? below : [[...path], ...below];
}

/** Seals by hand, as another build of restitch would. */
function seal(plain: Buffer, major: number, minor: number): Buffer {
  const head = Buffer.from([0x52, 0x53, 0x49, major, minor, 0, 0, 0]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(plain, crc32(head)));
  return Buffer.concat([head, sum, plain]);
}

function decodeOrCode(encoded: Uint8Array): unknown {
  try {
    return decodeImage(encoded);
  } catch (error) {
    expect(error).toBeInstanceOf(RestitchError);
    return (error as RestitchError).code;
  }
}

const cycle: { self?: unknown } = {};
cycle.self = cycle;

const sample = fc.sample(body, { numRuns: 1, seed: 7 })[0] as SessionImageBody;

describe('session image', () => {
  it('survives bytes and back', () => {
    fc.assert(
      fc.property(body, (image) => {
        const decoded = decodeImage(encodeImage(image));
        expect(comparable(decoded)).toEqual(comparable({ ...image, version: imageVersion }));
      }),
    );
  });

  it('is accepted by hand only as the schema accepts it, and when it is ordinary always', () => {
    const strange = fc.oneof(
      fc.constantFrom<unknown>(
        null,
        undefined,
        true,
        '',
        'x'.repeat(65),
        -1,
        0,
        1.5,
        2,
        2 ** 31,
        2 ** 32,
        2 ** 53,
        NaN,
        Infinity,
      ),
      fc.constantFrom<unknown>(
        '::1',
        '010.0.0.1',
        '::ffff:10.0.0.1',
        new Uint8Array(2),
        [],
        [1],
        {},
        { a: 1 },
        { a: 0.5 },
        new Date(0),
      ),
    );
    const paths = leafPaths(sample);
    fc.assert(
      fc.property(body, fc.constantFrom(...paths), strange, fc.boolean(), (image, path, value, isExtra) => {
        expect(isOrdinaryImage(structuredClone(image))).toBe(true);
        const changed = structuredClone(image) as unknown as Record<string, unknown>;
        let at = changed;
        for (const step of path.slice(0, -1)) at = at[step] as Record<string, unknown>;
        at[isExtra ? 'extra' : (path.at(-1) as string)] = value;
        if (!isOrdinaryImage(changed)) return;
        const parsed = sessionImageSchema.safeParse(changed);
        expect(parsed.success).toBe(true);
        expect(comparable(parsed.data)).toEqual(comparable(changed));
      }),
      { numRuns: 2000 },
    );
  });

  it('is refused or equal after any mutation of its bytes', () => {
    const mutation = fc.oneof(
      fc.record({ t: fc.constant('flip' as const), at: fc.nat(), mask: fc.integer({ min: 1, max: 255 }) }),
      fc.record({ t: fc.constant('cut' as const), at: fc.nat(), length: fc.integer({ min: 1, max: 64 }) }),
      fc.record({
        t: fc.constant('insert' as const),
        at: fc.nat(),
        what: fc.uint8Array({ minLength: 1, maxLength: 16 }),
      }),
      fc.record({ t: fc.constant('swap' as const), at: fc.nat(), length: fc.integer({ min: 1, max: 16 }) }),
    );
    fc.assert(
      fc.property(body, mutation, (image, m) => {
        const encoded = encodeImage(image);
        const at = m.at % encoded.length;
        let mutated = Buffer.from(encoded);
        if (m.t === 'flip') mutated[at] = (mutated[at] ?? 0) ^ m.mask;
        if (m.t === 'cut')
          mutated = Buffer.concat([encoded.subarray(0, at), encoded.subarray(at + m.length)]);
        if (m.t === 'insert')
          mutated = Buffer.concat([encoded.subarray(0, at), m.what, encoded.subarray(at)]);
        if (m.t === 'swap') mutated.copyWithin(at, Math.max(0, at - m.length), at);
        const result = decodeOrCode(mutated);
        if (mutated.equals(encoded)) expect(typeof result).toBe('object');
        else expect(['image_invalid', 'version_unsupported']).toContain(result);
      }),
      { numRuns: 1000 },
    );
  });

  it('is refused by the sum, not by luck: a changed sequence number is a well-formed image', () => {
    const encoded = encodeImage(sample);
    const at = encoded.indexOf('rcvNxt') + 'rcvNxt'.length + 1;
    const mutated = Buffer.from(encoded);
    mutated[at] = (mutated[at] ?? 0) ^ 1;
    expect(() => decodeImage(mutated)).toThrow(/checksum/);
    expect(decodeOrCode(seal(mutated.subarray(12), 1, 0))).toBeTypeOf('object');
  });

  it('of a newer minor version is read, unknown keys ignored', () => {
    const plain = encodePlain({ ...sample, later: { more: true }, tcp: { ...sample.tcp, later: 1 } });
    const decoded = decodeImage(seal(plain, 1, 9));
    expect(decoded.version).toEqual({ major: 1, minor: 9 });
    expect(comparable(decoded)).toEqual(comparable({ ...sample, version: { major: 1, minor: 9 } }));
  });

  it('of a newer major version is refused by name, whatever follows', () => {
    expect(() => decodeImage(seal(Buffer.from('of another shape'), 2, 3))).toThrow(
      expect.objectContaining({ code: 'version_unsupported', message: expect.stringContaining('2.3') }),
    );
  });

  it('is bounded both ways', () => {
    const big = { ...sample, unread: Buffer.alloc(1000) };
    expect(() => encodeImage(big, 900)).toThrow(expect.objectContaining({ code: 'image_invalid' }));
    expect(() => decodeImage(encodeImage(big), 900)).toThrow(
      expect.objectContaining({ code: 'image_invalid' }),
    );
  });

  it.each([
    ['a date', new Date(0)],
    ['a Map with keys that are no text', new Map([[1, 2]])],
    ['a bigint too wide for 64 bits', 1n << 70n],
    ['a cycle', cycle],
  ])('refuses %s in the state, at the source', (_what, value) => {
    const image = { ...sample, state: { value } as never };
    expect(() => encodeImage(image)).toThrow(expect.objectContaining({ code: 'image_invalid' }));
  });

  it('carries no application name that could act in a terminal, by either way of checking', () => {
    const image = { ...sample, app: { name: 'a\u001b[2J', version: '1' } };
    expect(isOrdinaryImage(image)).toBe(false);
    expect(decodeImage(encodeImage(image)).app.name).toBe('a?[2J');
  });

  it('refuses more sent than queued', () => {
    const image = { ...sample, tcp: { ...sample.tcp, sendQueue: Buffer.alloc(3), sentBytes: 4 } };
    expect(decodeOrCode(encodeImage(image))).toBe('image_invalid');
  });

  it('names the place of what does not fit, never the value', () => {
    const plain = encodePlain({ ...sample, unread: 'secret-session-bytes' });
    expect(() => decodeImage(seal(plain, 1, 0))).toThrow(/unread/);
    expect(() => decodeImage(seal(plain, 1, 0))).not.toThrow(/secret/);
  });
});
