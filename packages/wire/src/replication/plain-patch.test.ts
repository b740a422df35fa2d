import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import type { PlainData } from '../codec/plain-codec.js';
import { applyPlainPatch, diffPlain, type PlainPatch } from './plain-patch.js';

const packr = new Packr({ useRecords: false });

const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer(),
  fc.string({ maxLength: 12 }),
  fc.uint8Array({ maxLength: 12 }),
);
const plain = fc.letrec<{ node: PlainData }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'small' },
    leaf,
    fc.array(tie('node'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'constructor'), tie('node'), { maxKeys: 4 }),
  ),
})).node;

describe('patches of plain data', () => {
  it('turn the one state into the other, for any two states, also after the wire', () => {
    fc.assert(
      fc.property(plain, plain, (before, after) => {
        const patch = packr.unpack(packr.pack(diffPlain(before, after))) as PlainPatch;
        expect(packr.pack(applyPlainPatch(before, patch))).toEqual(packr.pack(after));
      }),
      { numRuns: 2000 },
    );
  });

  it('say nothing for equal states', () => {
    fc.assert(
      fc.property(plain, (state) => {
        expect(diffPlain(state, packr.unpack(packr.pack(state)))).toBeNull();
      }),
    );
  });

  it('carry only what was appended to a long byte array', () => {
    const before = { log: new Uint8Array(100_000), n: 1 };
    const after = { log: Buffer.concat([before.log, Buffer.from('x')]), n: 2 };
    expect(packr.pack(diffPlain(before, after)).length).toBeLessThan(40);
  });

  it.each([
    ['a splice longer than the string', 'ab', { s: [2, 1, ''] }],
    ['a negative splice', 'ab', { s: [-1, 0, ''] }],
    ['a splice of another kind', 'ab', { s: [0, 0, 5] }],
    ['keys in a number', 5, { o: { a: { r: 1 } } }],
  ] as const)('refuse %s', (_what, before, patch) => {
    expect(() => applyPlainPatch(before, patch as PlainPatch)).toThrowError(/does not fit/);
  });
});
