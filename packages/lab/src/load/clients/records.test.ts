import { describe, expect, it } from 'vitest';
import { RecordChecker, encodeRecord } from './records.js';
import { findMismatch, patternAt } from './pattern.js';

const record = (n: number): Buffer => encodeRecord('s1', n, 64);

function check(pieces: readonly Buffer[]): { checker: RecordChecker; seen: number[] } {
  const checker = new RecordChecker('s1', 64);
  const seen: number[] = [];
  for (const piece of pieces) checker.push(piece, (n) => seen.push(n));
  return { checker, seen };
}

describe('RecordChecker', () => {
  it('accepts a right stream in pieces of any size', () => {
    const stream = Buffer.concat([0, 1, 2, 3, 4].map(record));
    for (let size = 1; size < 130; size += 7) {
      const pieces: Buffer[] = [];
      for (let i = 0; i < stream.length; i += size) pieces.push(stream.subarray(i, i + size));
      const { checker, seen } = check(pieces);
      expect(seen).toEqual([0, 1, 2, 3, 4]);
      expect(checker.tally).toEqual({
        receivedBytes: 320,
        mismatchedBytes: 0,
        lostBytes: 0,
        duplicatedBytes: 0,
      });
    }
  });

  it('tells a lost, a doubled and a damaged record apart', () => {
    expect(check([record(0), record(2)]).checker.tally.lostBytes).toBe(64);
    expect(check([record(0), record(0), record(1)]).checker.tally.duplicatedBytes).toBe(64);
    const damaged = Buffer.from(record(0));
    damaged[30] = 0x21;
    expect(check([damaged]).checker.tally.mismatchedBytes).toBe(64);
  });

  it('notices one missing byte and finds its way back', () => {
    const { checker, seen } = check([record(0).subarray(0, 63), Buffer.concat([1, 2, 3].map(record))]);
    expect(checker.tally.mismatchedBytes + checker.tally.lostBytes).toBeGreaterThan(0);
    expect(seen).toContain(3);
  });

  it('takes the record of another session for damage', () => {
    expect(check([encodeRecord('s2', 0, 64)]).checker.tally.mismatchedBytes).toBe(64);
  });
});

describe('pattern', () => {
  it('finds the first wrong byte, also across its period', () => {
    const length = 200_000;
    const bytes = Buffer.from(patternAt(1_048_000, length));
    expect(findMismatch(bytes, 1_048_000)).toBe(-1);
    bytes[150_000] = (bytes[150_000] ?? 0) ^ 1;
    expect(findMismatch(bytes, 1_048_000)).toBe(150_000);
    expect(findMismatch(patternAt(5, 1000), 6)).toBeGreaterThanOrEqual(0);
  });
});
