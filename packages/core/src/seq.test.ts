import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addSeq, diffSeq, isSeqBefore, isSeqWithin } from './seq.js';

const seq = fc.oneof(
  fc.nat(0xffffffff),
  fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff),
);
const step = fc.integer({ min: -0x7fffffff, max: 0x80000000 });

describe('sequence numbers', () => {
  it('come before zero just below the wrap', () => {
    expect(isSeqBefore(0xffffffff, 0)).toBe(true);
    expect(isSeqBefore(0, 0xffffffff)).toBe(false);
    expect(isSeqBefore(5, 5)).toBe(false);
  });

  it('stay 32 bits, and adding is undone by subtracting', () => {
    fc.assert(
      fc.property(seq, step, (a, n) => {
        const b = addSeq(a, n);
        expect(Number.isInteger(b) && b >= 0 && b <= 0xffffffff).toBe(true);
        expect(addSeq(b, -n)).toBe(a);
        expect(diffSeq(b, a)).toBe(n);
      }),
    );
  });

  it('agree with arithmetic in 64 bits', () => {
    fc.assert(
      fc.property(seq, seq, (a, b) => {
        const d = BigInt.asIntN(32, BigInt(a) - BigInt(b));
        // Half the circle is the one distance with two readings; restitch reads it as ahead.
        expect(diffSeq(a, b)).toBe(d === -0x80000000n ? 0x80000000 : Number(d));
      }),
    );
  });

  it('are before or after, never both', () => {
    fc.assert(
      fc.property(seq, seq, (a, b) => {
        fc.pre(addSeq(a, 0x80000000) !== b);
        expect([isSeqBefore(a, b), isSeqBefore(b, a), a === b].filter(Boolean)).toHaveLength(1);
      }),
    );
  });

  it('lie within a window that goes round the wrap', () => {
    fc.assert(
      fc.property(seq, fc.nat(0x40000000), fc.nat(0xffffffff), (low, length, offset) => {
        const high = addSeq(low, length);
        expect(isSeqWithin(addSeq(low, offset), low, high)).toBe(offset <= length);
      }),
    );
  });
});
