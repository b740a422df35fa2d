import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createSha256, finishSha256, updateSha256 } from './portable-sha256.js';

describe('portable SHA-256', () => {
  it('agrees with node:crypto for all lengths around the block size, in pieces', () => {
    for (let length = 0; length < 300; length++) {
      const bytes = randomBytes(length);
      const state = createSha256();
      for (let i = 0; i < length; i += 1 + (length % 70)) {
        updateSha256(state, bytes.subarray(i, Math.min(length, i + 1 + (length % 70))));
      }
      expect(finishSha256(state)).toBe(createHash('sha256').update(bytes).digest('hex'));
    }
  });

  it('goes on from a copy of its state, as after a move', () => {
    const bytes = randomBytes(1000);
    const first = createSha256();
    updateSha256(first, bytes.subarray(0, 333));
    const moved = structuredClone(first);
    updateSha256(moved, bytes.subarray(333));
    expect(finishSha256(moved)).toBe(createHash('sha256').update(bytes).digest('hex'));
  });
});
