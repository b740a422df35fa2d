import { expect, test } from 'vitest';
import { isSeqBefore } from './seq.js';

test('a sequence number just below the wrap comes before zero', () => {
  expect(isSeqBefore(0xffffffff, 0)).toBe(true);
});
