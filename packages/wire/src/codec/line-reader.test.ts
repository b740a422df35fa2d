import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLineReader } from './line-reader.js';

function read(text: string, cuts: readonly number[], maxLineBytes = 1000): string[] {
  const lines: string[] = [];
  const push = createLineReader('test', maxLineBytes, (line) => void lines.push(line));
  const bytes = Buffer.from(text);
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let from = 0;
  for (const end of ends) {
    push(bytes.subarray(from, end));
    from = end;
  }
  return lines;
}

describe('lines', () => {
  it('are the same however the bytes were cut, also within a character', () => {
    const line = fc.string({ unit: fc.constantFrom('a', 'ü', '🙂', '"', ' ') });
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.nat()), (lines, cuts) => {
        expect(read(lines.map((l) => `${l}\n`).join(''), cuts)).toEqual(lines);
      }),
    );
  });

  it('end with a line feed, a carriage return before it does not count', () => {
    expect(read('a\r\nb\n\nrest', [])).toEqual(['a', 'b', '']);
  });

  it.each(['x'.repeat(11), `${'x'.repeat(11)}\n`, `a\n${'x'.repeat(11)}`])(
    'of more than the bound are refused: %j',
    (text) => {
      expect(() => read(text, [3, 7], 10)).toThrow('test: a line has more than 10 bytes');
      expect(() => read(`${'x'.repeat(10)}\n`, [3, 7], 10)).not.toThrow();
    },
  );
});
