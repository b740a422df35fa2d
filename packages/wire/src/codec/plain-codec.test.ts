import { Packr } from 'msgpackr';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assertPlain, decodePlain, encodePlain, maxPlainDepth } from './plain-codec.js';

const anyMsgpack = new Packr({ useRecords: false, moreTypes: true, structuredClone: true });

const value = fc.anything({
  withBigInt: false,
  withDate: false,
  withMap: false,
  withSet: false,
  withTypedArray: false,
  withSparseArray: false,
  withNullPrototype: false,
  maxDepth: 4,
});

function isTaken(bytes: Uint8Array): boolean {
  try {
    assertPlain(bytes);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: 'message_invalid', details: { reason: 'malformed' } });
    return false;
  }
}

describe('plain values', () => {
  it('survive bytes and back as JSON does, undefined keys left out', () => {
    fc.assert(
      fc.property(
        fc.jsonValue().map((v) => JSON.parse(JSON.stringify(v)) as unknown),
        (json) => {
          fc.pre(!JSON.stringify(json).includes('"__proto__"'));
          expect(decodePlain(encodePlain(json))).toEqual(json);
        },
      ),
    );
    expect(decodePlain(encodePlain({ a: undefined, b: [undefined] }))).toEqual({ b: [null] });
  });

  it('are all that is taken: what has types beyond is refused by the walk', () => {
    for (const more of [
      new Date(),
      new Set([1]),
      new Map([[1, 2]]),
      /x/,
      new Error('e'),
      new Uint16Array(2),
    ]) {
      expect(isTaken(anyMsgpack.pack({ more })), String(more)).toBe(false);
    }
  });

  it('are walked as far as the decoder reads, for any value', () => {
    fc.assert(
      fc.property(value, fc.nat(), (v, cut) => {
        const bytes = encodePlain(v);
        fc.pre(isTaken(bytes));
        decodePlain(bytes);
        expect(isTaken(bytes.subarray(0, cut % bytes.length))).toBe(false);
        expect(isTaken(Buffer.concat([bytes, Buffer.from([0xc0])]))).toBe(false);
      }),
    );
  });

  it('are decoded or refused for any bytes, with nothing but message_invalid', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        if (isTaken(bytes)) decodePlain(bytes);
      }),
      { numRuns: 5000 },
    );
  });

  it('nest to the bound and no deeper', () => {
    const nest = (depth: number): Buffer => Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.from([0xc0])]);
    expect(isTaken(nest(maxPlainDepth))).toBe(true);
    expect(isTaken(nest(maxPlainDepth + 1))).toBe(false);
  });

  it('are bounded in number, keys counted', () => {
    const three = encodePlain({ a: [1] });
    assertPlain(three, 4);
    expect(() => assertPlain(three, 3)).toThrow(/more than 3 values/);
  });

  it('cost no memory by claiming to be long', () => {
    for (const head of [
      [0xdd, 255, 255, 255, 255],
      [0xdf, 255, 255, 255, 255],
      [0xc6, 255, 255, 255, 255],
      [0xdb, 255, 255, 255, 255],
    ]) {
      expect(isTaken(Buffer.from([...head, 0xc0, 0xc0]))).toBe(false);
    }
  });
});
