/**
 * Waits for the client's own acknowledgement after a thaw.
 *
 * The kernel tells nobody when an ACK arrives, so TCP_INFO is looked at, soon at first and then ever more rarely: a
 * confirmation a millisecond late costs nothing, because the client is served meanwhile.
 */
import type { Clock, Counters } from '@restitch/core';
import { readConfirmation, readTimeouts } from '../tcp/index.js';

const firstLookMs = 1;
const longestPauseMs = 250;

/** Longer than the access point's own deadline: a late confirmation is better than none. */
const giveUpMs = 10_000;

/** What is watched. */
export interface WatchedSocket {
  /** −1 when the connection has ended. */
  readonly fd: () => number;
  readonly clock: Clock;
  readonly counters: Counters;
}

/** Calls `onConfirmed` once with the socket's retransmission timeouts since the thaw, or never. */
export function watchConfirmation(socket: WatchedSocket, onConfirmed: (serverRtos: number) => void): void {
  const { clock, counters } = socket;
  const untilMs = clock.monotonicMs() + giveUpMs;
  const look = (pauseMs: number): void => {
    const fd = socket.fd();
    if (fd < 0) return;
    if (readConfirmation(fd)) {
      counters.add('endpoint_confirmations_total');
      onConfirmed(readTimeouts(fd));
      return;
    }
    if (clock.monotonicMs() >= untilMs) {
      counters.add('endpoint_confirmations_missing_total');
      return;
    }
    clock.after(pauseMs, () => look(Math.min(longestPauseMs, pauseMs * 2)));
  };
  clock.after(firstLookMs, () => look(2 * firstLookMs));
}
