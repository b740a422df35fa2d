/** What became of each session whose endpoint died, bounded, for stories and reports. */
import type { Flow } from '@restitch/core';
import type { ResetOutcome } from '@restitch/dataplane';

/** One session after the death of its endpoint; `atMs` is wall time. */
export interface SessionTakeOver {
  readonly atMs: number;
  readonly sessionId: string;
  readonly flow: Flow;
  /** The dead endpoint. */
  readonly from: string;
  /** Who serves it now; null if nobody has a replica. */
  readonly to: string | null;
  readonly epoch: number;
  /**
   * taken: a buddy serves it. finishing: its application had ended it, and the kernel of its host delivers the rest.
   * ended: nobody has it, and its client was through. lost: nobody has it.
   */
  readonly outcome: 'taken' | 'finishing' | 'ended' | 'lost';
  /** Why it was not taken. */
  readonly reason?: string;
  /** What the client of one that nobody has was told, and how long after that was known. */
  readonly client?: ResetOutcome;
  readonly resetMs?: number;
}

/** The last ones. */
export interface TakeOverHistory {
  add(takeOver: SessionTakeOver): void;
  ofSession(sessionId: string): SessionTakeOver[];
  /** All that are remembered, in their order. */
  all(): SessionTakeOver[];
}

/** A history of at most `capacity` take-overs; lost sessions are kept apart, so that no crowd of taken ones ousts them. */
export function createTakeOverHistory(capacity: number): TakeOverHistory {
  const taken: SessionTakeOver[] = [];
  const lost: SessionTakeOver[] = [];
  return {
    add(takeOver) {
      const list = takeOver.outcome === 'lost' ? lost : taken;
      list.push(takeOver);
      // In one go now and then: shifting each time would copy the list each time.
      if (list.length > capacity * 2) list.splice(0, list.length - capacity);
    },
    ofSession: (sessionId) => [...taken, ...lost].filter((t) => t.sessionId === sessionId),
    all: () => [...taken, ...lost].sort((a, b) => a.atMs - b.atMs),
  };
}
