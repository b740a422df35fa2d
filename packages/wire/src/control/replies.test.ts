import { describe, expect, it } from 'vitest';
import { parseReply } from './replies.js';

describe('a reply', () => {
  it('is read by what was asked, and says in a refusal what that was', () => {
    expect(parseReply('query', { owned: [true, false] }, 'a')).toEqual({ owned: [true, false] });
    expect(() => parseReply('residue', { owned: [true, false] }, 'a')).toThrow(
      /message from a \(residue\) refused: sockets/,
    );
  });

  it('of a newer minor version is read, unknown keys left out', () => {
    expect(parseReply('revert', { wasFrozen: true, later: 1 }, 'a')).toEqual({ wasFrozen: true });
    expect(parseReply('release', { later: 1 }, 'a')).toEqual({});
  });

  it('need not have figures', () => {
    expect(parseReply('activate', {}, 'b')).toEqual({});
    expect(parseReply('freeze', { imageBytes: 9, freezeUs: 1 }, 'a')).toEqual({ imageBytes: 9, freezeUs: 1 });
  });

  it.each([
    ['freeze', { imageBytes: -1, freezeUs: 1 }],
    ['query', { owned: ['yes'] }],
    ['query', { owned: Array.from({ length: 4097 }, () => true) }],
    ['stats', { sessions: [{ id: 'a b' }] }],
    ['replicas', { replicas: [{ id: 's', epoch: 2 ** 24, n: 1 }] }],
    ['reserve', {}],
  ] as const)('to %s is refused where it does not fit', (to, data) => {
    expect(() => parseReply(to, data, 'a')).toThrow(/refused/);
  });
});
