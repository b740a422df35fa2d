import { describe, expect, it } from 'vitest';
import { patternAt } from '../clients/pattern.js';
import { StreamChecker } from './stream-checker.js';

const base = 123_456;
const piece = (from: number, to: number): Buffer => Buffer.from(patternAt(base + from, to - from));

function check(...pieces: Buffer[]): StreamChecker {
  const checker = new StreamChecker(base);
  for (const bytes of pieces) checker.push(bytes);
  return checker;
}

const counts = ({ lostBytes, doubledBytes, wrongBytes, position }: StreamChecker): object => ({
  lostBytes,
  doubledBytes,
  wrongBytes,
  position,
});

describe('StreamChecker', () => {
  it('accepts the stream in pieces of any size', () => {
    const stream = piece(0, 5000);
    for (const size of [1, 7, 1448, 5000]) {
      const checker = new StreamChecker(base);
      for (let at = 0; at < stream.length; at += size) checker.push(stream.subarray(at, at + size));
      expect(counts(checker)).toEqual({ lostBytes: 0, doubledBytes: 0, wrongBytes: 0, position: 5000 });
    }
  });

  it('tells a hole, a repeat and damage apart, and finds its way back', () => {
    const none = { lostBytes: 0, doubledBytes: 0, wrongBytes: 0, position: 3000 };
    expect(counts(check(piece(0, 1000), piece(1500, 3000)))).toEqual({ ...none, lostBytes: 500 });
    expect(counts(check(piece(0, 1000), piece(600, 3000)))).toEqual({ ...none, doubledBytes: 400 });
    const damaged = piece(0, 3000);
    for (let i = 700; i < 710; i++) damaged[i] = (damaged[i] ?? 0) ^ 0x55;
    expect(counts(check(damaged))).toEqual({ ...none, wrongBytes: 10 });
  });

  it('sees one byte that comes twice', () => {
    const checker = check(piece(0, 1000), piece(999, 2000));
    expect(checker.doubledBytes).toBe(1);
    expect(checker.trouble).toContain('at byte 1000');
  });

  it('takes the stream of another client for lost, doubled or wrong bytes', () => {
    const checker = check(Buffer.from(patternAt(base + 77_777, 500)));
    expect(checker.lostBytes + checker.doubledBytes + checker.wrongBytes).toBeGreaterThan(0);
  });
});
