import { RestitchError } from '@restitch/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createFrameParser, encodeFrame, frameHeaderBytes } from './frames.js';
import { decodePlain } from './plain-codec.js';

const bound = 1 << 20;

function parseInPieces(bytes: Uint8Array, cuts: readonly number[], maxMessageBytes = bound): unknown[] {
  const parser = createFrameParser(maxMessageBytes);
  const messages: unknown[] = [];
  const ends = [...new Set([...cuts.map((c) => c % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  let from = 0;
  for (const end of ends) {
    parser.push(bytes.subarray(from, end), (m) => messages.push(m));
    from = end;
  }
  expect(parser.partialBytes).toBe(0);
  return messages;
}

function refusalOf(run: () => unknown): RestitchError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(RestitchError);
    return error as RestitchError;
  }
  throw new Error('was not refused');
}

const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.double({ noNaN: true }).map((n) => n + 0), // msgpack writes −0 as 0
    fc.string(),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9-]{0,40}$/), tie('value'), {
      maxKeys: 5,
      noNullPrototype: true,
    }),
  ),
})).value;

describe('frame parser', () => {
  it('gives the same messages however the bytes are cut', () => {
    const message = fc.record({ t: fc.string(), body: plain });
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (messages, cuts) => {
          const bytes = Buffer.concat(messages.flatMap((m) => [...encodeFrame(m)]));
          const expected = messages.map((m) => decodePlain(encodeFrame(m)[1]));
          expect(parseInPieces(bytes, cuts)).toEqual(expected);
          expect(expected).toEqual(messages);
        },
      ),
    );
  });

  it('carries bytes as bytes, whole and across chunks', () => {
    const image = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 251));
    const bytes = Buffer.concat([...encodeFrame({ t: 'image', image })]);
    const cuts = Array.from({ length: 30 }, (_, i) => i * 7001);
    const [message] = parseInPieces(bytes, cuts) as [{ image: Uint8Array }];
    expect(Buffer.from(message.image).equals(image)).toBe(true);
  });

  it('leaves out keys whose value is undefined', () => {
    expect(parseInPieces(Buffer.concat([...encodeFrame({ a: undefined, b: 1 })]), [])).toEqual([{ b: 1 }]);
  });

  it('refuses an oversized message by its header, before any of its bytes', () => {
    const parser = createFrameParser(100);
    const refusal = refusalOf(() => parser.push(Buffer.from([0, 0, 0, 101]), () => undefined));
    expect(refusal.code).toBe('message_invalid');
    expect(refusal.details).toMatchObject({ reason: 'oversize', messageBytes: 101, maxMessageBytes: 100 });
  });

  it('takes a message of exactly the bound', () => {
    const [header, body] = encodeFrame({ pad: Buffer.alloc(90) });
    expect(parseInPieces(Buffer.concat([header, body]), [], body.length)).toHaveLength(1);
  });

  it('counts the bytes of a message that has begun', () => {
    const parser = createFrameParser(bound);
    const bytes = Buffer.concat([...encodeFrame({ t: 'heartbeat', n: 1 })]);
    parser.push(bytes.subarray(0, 3), () => undefined);
    expect(parser.partialBytes).toBe(3);
    parser.push(bytes.subarray(3, 10), () => undefined);
    expect(parser.partialBytes).toBe(10);
    parser.push(bytes.subarray(10), () => undefined);
    expect(parser.partialBytes).toBe(0);
  });

  it.each([
    ['an empty body', []],
    ['trailing bytes', [0xc0, 0xc0]],
    ['an undefined by extension', [0xd4, 0x00, 0x00]],
    ['a date', [0xd6, 0xff, 0, 0, 0, 0]],
    ['a record definition', [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 0x01]],
    ['an error object', [0xc7, 0x01, 0x65, 0x92, 0xa1, 0x61, 0xa1, 0x62]],
    ['the byte that msgpack never uses', [0xc1]],
    ['a number as map key', [0x81, 0x01, 0x02]],
    ['an array that claims more than there is', [0xdd, 0x7f, 0xff, 0xff, 0xff]],
    ['text that claims more than there is', [0xd9, 0x10, 0x61]],
    ['deep nesting', Array.from({ length: 5000 }, () => 0x91)],
  ])('refuses %s', (_what, body) => {
    const frame = Buffer.alloc(frameHeaderBytes + body.length);
    frame.writeUInt32BE(body.length);
    frame.set(body, frameHeaderBytes);
    const refusal = refusalOf(() => createFrameParser(bound).push(frame, () => undefined));
    expect(refusal.code).toBe('message_invalid');
    expect(refusal.details['reason']).toBe('malformed');
  });

  it('does not let a message change the prototype of what is decoded', () => {
    const body = Buffer.from([0x81, 0xa9, ...Buffer.from('__proto__'), 0x81, 0xa1, 0x78, 0x01]);
    const value = decodePlain(body) as { x?: number };
    expect(value.x).toBeUndefined();
    expect(({} as { x?: number }).x).toBeUndefined();
  });
});
