/**
 * Resets a client whose session nobody has any more, so that it learns the truth at once and does not hang.
 *
 * A client believes an RST only with exactly its own rcv_nxt (RFC 5961 §3.2), and nobody alive knows that number but the
 * client: a segment far outside its window makes it say it in an acknowledgement, also if it only reads and would never
 * send anything itself. The same segment, after the RST, is answered by an RST of a client that has let go: that proves
 * it. Not a SYN, which also draws the answer: a client that already connects anew from its port would take it for the
 * other half of a simultaneous open.
 */
import type { Clock } from '@restitch/core';
import type { ResetOutcome } from './contract.js';
import { segmentFlags } from './segment.js';
import type { Segment } from './segment.js';

/** What a reset works with. */
export interface ClientResetOptions {
  readonly clock: Clock;
  readonly deadlineMs: number;
  /** A number to begin with that a stranger cannot guess. */
  readonly firstSeq: number;
  readonly send: (segment: Segment) => void;
  readonly onDone: (outcome: ResetOutcome) => void;
}

/** One reset under way. */
export interface ClientReset {
  /** Segments of the client, in the order they came. */
  hear(segments: readonly Segment[]): void;
  start(): void;
  /** Gives up. */
  close(): void;
}

/** Linux answers segments outside the window every 500 ms at most (net.ipv4.tcp_invalid_ratelimit). */
const repeatMs = 550;
/** A client that answers each RST with another number, or somebody who plays one. */
const maxResets = 32;

/** A reset that has not begun. */
export function createClientReset(options: ClientResetOptions): ClientReset {
  const { clock, send, onDone } = options;
  let seq = options.firstSeq >>> 0;
  let resets = 0;
  let isOver = false;
  let cancelRepeat: (() => void) | undefined;
  let cancelEnd: (() => void) | undefined;

  const end = (outcome: ResetOutcome): void => {
    if (isOver) return;
    isOver = true;
    cancelRepeat?.();
    cancelEnd?.();
    onDone(outcome);
  };
  // Half the number space away from the one before: a window cannot reach both.
  const probe = (): void => {
    seq = (seq + 0x80000000) >>> 0;
    send({ seq, ack: 0, flags: segmentFlags.ack });
  };
  const repeat = (): void => {
    if (isOver) return;
    probe();
    cancelRepeat = clock.after(repeatMs, repeat);
  };

  return {
    start() {
      cancelEnd = clock.after(options.deadlineMs, () => end('unanswered'));
      repeat();
    },
    hear(segments) {
      if (isOver || segments.length === 0) return;
      // Its own RST: to our probe after it was reset, or on its own account.
      if (segments.some((s) => (s.flags & segmentFlags.rst) !== 0)) return end(resets > 0 ? 'reset' : 'gone');
      if (segments.some((s) => (s.flags & segmentFlags.syn) !== 0)) return end('gone');
      const newest = segments.filter((s) => (s.flags & segmentFlags.ack) !== 0).reduce(later, undefined);
      if (newest === undefined || resets >= maxResets) return;
      resets++;
      send({ seq: newest.ack, ack: 0, flags: segmentFlags.rst });
      seq = newest.ack;
      probe();
    },
    close: () => end('unanswered'),
  };
}

/** The one that has received more. */
function later(a: Segment | undefined, b: Segment): Segment {
  return a !== undefined && ((a.ack - b.ack) | 0) > 0 ? a : b;
}
