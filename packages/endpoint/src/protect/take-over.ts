/**
 * The buddy goes on: a replica becomes a socket in service, and then a session.
 *
 * What was promised to the client is restored as sent. Its answer to the probe says what it really has; what it lacks
 * is sent at once from a second socket, instead of after a retransmission timeout. Between the two, this host's own
 * guard drops the RST that an arriving packet would draw.
 */
import { type Clock, RestitchError } from '@restitch/core';
import { readConfirmation, readRemainder, rethawRemainder } from '../tcp/index.js';
import type { ActiveTcp } from '../tcp/index.js';
import type { Flow } from '@restitch/core';

const lookMs = 1;
/** A client further away than this gets its tail by the kernel's own timeout. */
const longestWaitMs = 250;

/** The socket once the client has answered (or did not in time), with nothing left that waits for a timeout. */
export async function settleTakenSocket(active: ActiveTcp, flow: Flow, clock: Clock): Promise<ActiveTcp> {
  const startMs = clock.monotonicMs();
  if (readRemainder(active.fd) <= 0) return active;
  while (!readConfirmation(active).isConfirmed) {
    if (clock.monotonicMs() - startMs > longestWaitMs) return active;
    await new Promise<void>((resolve) => clock.after(lookMs, resolve));
  }
  if (readRemainder(active.fd) <= 0) return active;
  try {
    return rethawRemainder(active.fd, flow);
  } catch (error) {
    // A freeze that fails leaves the socket in service: the tail then comes by the kernel's own timeout.
    if (isErrorWith(error, 'freeze_failed')) return active;
    throw error;
  }
}

function isErrorWith(error: unknown, code: string): boolean {
  return error instanceof RestitchError && error.code === code;
}
