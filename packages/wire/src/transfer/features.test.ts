import { describe, expect, it } from 'vitest';
import { assertOffered, imageFeatures, plainImageNeeds } from './features.js';

const who = { session: 's1', target: 'b' };

describe('the features of a target', () => {
  it('that nobody has handed on are those of plain images, and no more', () => {
    expect(() => assertOffered(plainImageNeeds, undefined, who)).not.toThrow();
    expect(() => assertOffered([...plainImageNeeds, 'tls-1'], undefined, who)).toThrow(/lacks tls-1/);
  });

  it('may be more than an image needs', () => {
    expect(() => assertOffered(plainImageNeeds, [...imageFeatures, 'tls-1'], who)).not.toThrow();
  });

  it('are enough for a plain image of this build', () => {
    expect(() => assertOffered(plainImageNeeds, imageFeatures, who)).not.toThrow();
  });

  it('that are missing are named', () => {
    expect(() => assertOffered([...plainImageNeeds, 'tls-1'], imageFeatures, who)).toThrow(
      expect.objectContaining({
        code: 'version_unsupported',
        message: 'session s1: b cannot take its image, it lacks tls-1: update b',
      }),
    );
    expect(() => assertOffered(plainImageNeeds, [], who)).toThrow(/lacks image-1, tcp-repair/);
  });
});
