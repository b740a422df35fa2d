/**
 * Waits for the client's own acknowledgement after a thaw.
 *
 * The kernel tells nobody when an ACK arrives, so TCP_INFO is looked at, soon at first and then ever more rarely: a
 * confirmation a millisecond late costs nothing, because the client is served meanwhile.
 */
import type { Clock, Counters } from '@restitch/core';
import type { Session } from '../session/session.js';
import {
  probeClient,
  readConfirmation,
  readTimeouts,
  restoreTimers,
  timeoutsCappedForMs,
  uncapTimeouts,
} from '../tcp/index.js';

const firstLookMs = 1;
const longestPauseMs = 250;

/** Linux answers one probe in 500 ms: a client whose answer was lost, or that was not probed, is asked again after this. */
const probeAgainMs = 600;

/** Longer than the access point's own deadline: a late confirmation is better than none. */
const giveUpMs = 10_000;

/** While only timers wait to be put back, minutes do not matter. */
const afterGivingUpMs = 5000;

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
  const { session, clock, counters } = watched;
  const startMs = clock.monotonicMs();
  let nextProbeMs = startMs + probeAgainMs;
  let isGivenUp = false;
  const look = (pauseMs: number): void => {
    if (session.phase === 'closed') return;
    const { fd } = session;
    const nowMs = clock.monotonicMs();
    let nextPauseMs = Math.min(longestPauseMs, pauseMs * 2);
    // Without one it is frozen for its next move, and may come back by a revert.
    if (fd >= 0 && hasAnswered(watched, fd)) {
      counters.add('endpoint_confirmations_total');
      if (!isGivenUp) onConfirmed(readTimeouts(fd));
      return;
    }
    if (!isGivenUp && nowMs - startMs >= giveUpMs) {
      isGivenUp = true;
      counters.add('endpoint_confirmations_missing_total');
      // Nobody waits any more, but the application's own timers are still to be put back.
      if (session.kernelTimers === undefined) return;
    }
    if (isGivenUp) nextPauseMs = afterGivingUpMs;
    else if (fd >= 0 && nowMs >= nextProbeMs) {
      nextProbeMs = nowMs + probeAgainMs;
      probeClient(fd);
      nextPauseMs = firstLookMs;
    }
    clock.after(nextPauseMs, () => attempt(nextPauseMs));
  };
  /** A socket that breaks while it is looked at ends by itself; a timer must not throw. */
  const attempt = (pauseMs: number): void => {
    try {
      look(pauseMs);
    } catch {
      counters.add('endpoint_confirmations_missing_total');
    }
  };
  clock.after(firstLookMs, () => attempt(firstLookMs));
}

function hasAnswered({ session, ownSegsIn }: WatchedSession, fd: number): boolean {
  if (!readConfirmation({ fd, ownSegsIn }).isConfirmed) return false;
  if (session.kernelTimers !== undefined) restoreTimers(fd, session.kernelTimers);
  session.kernelTimers = undefined;
  return true;
}

/** By then the socket has measures of its own: its timeouts are the kernel's again. */
export function uncapLater(session: Session, clock: Clock): void {
  const cancel = clock.after(timeoutsCappedForMs, () => {
    // Without a socket it is frozen for its next move, whose target begins anew.
    if (session.fd < 0) return;
    try {
      uncapTimeouts(session.fd);
    } catch {
      // A socket that breaks in this moment ends by itself.
    }
  });
  session.whenOver(cancel);
}
