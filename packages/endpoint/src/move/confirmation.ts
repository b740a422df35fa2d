/**
 * Waits for the client's own acknowledgement after a thaw.
 *
 * The kernel tells nobody when an ACK arrives, so TCP_INFO is looked at, soon at first and then ever more rarely: a
 * confirmation a millisecond late costs nothing, because the client is served meanwhile.
 */
import type { Clock, Counters } from '@restitch/core';
import type { Session } from '../session/session.js';
import { probeClient, readConfirmation, readTimeouts, restoreTimers } from '../tcp/index.js';

const firstLookMs = 1;
const longestPauseMs = 250;

/** Linux answers one probe in 500 ms: a client whose answer was lost, or that was not probed, is asked again after this. */
const probeAgainMs = 600;

/** Longer than the access point's own deadline: a late confirmation is better than none. */
const giveUpMs = 10_000;

/** What is watched. */
export interface WatchedSession {
  readonly session: Session;
  /** Segments that are not the client's own, of those the socket received. */
  readonly ownSegsIn: number;
  readonly clock: Clock;
  readonly counters: Counters;
}

/** Calls `onConfirmed` once with the socket's retransmission timeouts since the thaw, or never. */
export function watchConfirmation(watched: WatchedSession, onConfirmed: (serverRtos: number) => void): void {
  const { session, ownSegsIn, clock, counters } = watched;
  const startMs = clock.monotonicMs();
  let nextProbeMs = startMs + probeAgainMs;
  const look = (nextPauseMs: number): void => {
    let pauseMs = nextPauseMs;
    const { fd } = session;
    if (session.phase === 'closed') return;
    // Frozen for its next move: it may come back by a revert.
    if (fd >= 0 && readConfirmation({ fd, ownSegsIn }).isConfirmed) {
      if (session.kernelTimers !== undefined) restoreTimers(fd, session.kernelTimers);
      session.kernelTimers = undefined;
      counters.add('endpoint_confirmations_total');
      onConfirmed(readTimeouts(fd));
      return;
    }
    const nowMs = clock.monotonicMs();
    if (nowMs - startMs >= giveUpMs) {
      counters.add('endpoint_confirmations_missing_total');
      return;
    }
    if (fd >= 0 && nowMs >= nextProbeMs) {
      nextProbeMs = nowMs + probeAgainMs;
      probeClient(fd);
      pauseMs = firstLookMs;
    }
    clock.after(pauseMs, () => look(Math.min(longestPauseMs, pauseMs * 2)));
  };
  clock.after(firstLookMs, () => look(2 * firstLookMs));
}
