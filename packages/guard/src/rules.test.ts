import { connectionLife } from './connection-life.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ackableSeq,
  type EndPromise,
  type Fate,
  fateOf,
  finSeqOf,
  isOver,
  judgeSocketEnd,
  keepsHalfOpen,
  mayFin,
  mayHaveBeenSent,
  mayPromiseEnd,
} from './rules.js';

describe('places in the sequence', () => {
  it('counts bytes, urgent bytes and the FIN', () => {
    const at = { clientStart: 1000, inputEnd: 10, skipped: 0, fin: false };
    expect(ackableSeq(at)).toBe(1010);
    expect(ackableSeq({ ...at, skipped: 2 })).toBe(1012);
    expect(ackableSeq({ ...at, skipped: 2, fin: true })).toBe(1013);
  });

  it('wraps, also behind more than 4 GiB', () => {
    expect(ackableSeq({ clientStart: 0xffff_fff0, inputEnd: 0x10, skipped: 0, fin: true })).toBe(1);
    expect(finSeqOf(0xffff_ffff, 1)).toBe(0);
    const any = fc.record({
      start: fc.integer({ min: 0, max: 0xffff_ffff }),
      bytes: fc.integer({ min: 0, max: 2 ** 50 }),
    });
    fc.assert(
      fc.property(any, ({ start, bytes }) => {
        const expected = Number((BigInt(start) + BigInt(bytes)) & 0xffff_ffffn);
        return (
          finSeqOf(start, bytes) === expected &&
          ackableSeq({ clientStart: start, inputEnd: bytes, skipped: 0, fin: false }) === expected
        );
      }),
    );
  });

  it('lets a FIN stand at the promised end and nowhere else', () => {
    expect(mayFin(undefined, 0)).toBe(false);
    expect(mayFin(0, 0)).toBe(true);
    expect(mayFin(0xffff_ffff, -1)).toBe(true);
    expect(mayFin(5, 6)).toBe(false);
  });

  it('restores a promised FIN as sent', () => {
    expect(mayHaveBeenSent({ outputEnd: 7, isEnded: false })).toBe(7);
    expect(mayHaveBeenSent({ outputEnd: 7, isEnded: true })).toBe(8);
  });
});

describe('ends', () => {
  it('promises an end only once no successor can go on behind it, and nobody is left waiting for its last bytes', () => {
    const all = { isEndAtBuddy: true, isAllInSocket: true, isLeased: true };
    const levelsWith = (over: Partial<EndPromise>): string =>
      (['none', 'periodic', 'commit'] as const).filter((l) => mayPromiseEnd(l, { ...all, ...over })).join();
    expect(levelsWith({})).toBe('none,periodic,commit');
    expect(levelsWith({ isEndAtBuddy: false })).toBe('none');
    expect(levelsWith({ isAllInSocket: false })).toBe('commit');
    expect(levelsWith({ isLeased: false })).toBe('none,commit');
  });

  it('is over when both FINs are acknowledged, or one side has reset it', () => {
    const ends = { isOurFinAcknowledged: false, isClientFinAcknowledged: false, isReset: false };
    expect(isOver(ends)).toBe(false);
    expect(isOver({ ...ends, isOurFinAcknowledged: true })).toBe(false);
    expect(isOver({ ...ends, isOurFinAcknowledged: true, isClientFinAcknowledged: true })).toBe(true);
    expect(isOver({ ...ends, isReset: true })).toBe(true);
  });

  it('takes an error for a reset whatever else the socket says', () => {
    expect(judgeSocketEnd({ isClosed: true, unacknowledgedBytes: 0, error: 104 })).toBe('reset');
    expect(judgeSocketEnd({ isClosed: true, unacknowledgedBytes: 0, error: 0 })).toBe('delivered');
    expect(judgeSocketEnd({ isClosed: true, unacknowledgedBytes: 3, error: 0 })).toBe('reset');
    expect(judgeSocketEnd({ isClosed: false, unacknowledgedBytes: 0, error: 0 })).toBe('open');
  });

  it('gives up half-open affinity to who will not answer', () => {
    const states = ['healthy', 'suspect', 'dead', 'leaving'] as const;
    expect(states.map(keepsHalfOpen)).toEqual([true, true, false, false]);
  });
});

describe('the fate of a session whose owner dies', () => {
  /** Words of the table → what the rule must say. */
  const meanings: ReadonlyArray<readonly [RegExp, Fate]> = [
    [/repeated SYN gets another/, 'steered-anew'],
    [/its kernel resets it/, 'reset-by-kernel'],
    [/reset by the access point/, 'reset-by-access-point'],
    [/the buddy (goes on|delivers)/, 'goes-on'],
    [/goes on if the client agrees/, 'client-decides'],
    [/the kernel delivers/, 'kernel-finishes'],
  ];
  const fateIn = (words: string): Fate | undefined => meanings.find(([pattern]) => pattern.test(words))?.[1];

  it.each(connectionLife.filter((row) => row.phase !== 'over'))('is what the table says: $phase', (row) => {
    const phase = row.phase === 'handshake' || row.phase === 'accept-queue' ? row.phase : 'accepted';
    const isEnded = row.phase === 'server-ended' || row.phase === 'closing';
    for (const death of ['process', 'host', 'stop'] as const) {
      const words = row.onDeath[death];
      const of = (level: 'commit' | 'periodic'): Fate =>
        fateOf({ level, phase, isEnded, hasReplica: true }, death);
      expect(of('commit')).toBe(fateIn(words?.commit ?? ''));
      const below = words?.below === 'the same' ? words.commit : words?.below;
      expect(of('periodic')).toBe(fateIn(below ?? ''));
    }
  });
});
