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

/**
 * The client's answer may be older than the probe (packets that were held carry old acknowledgements), so it may have
 * more than it seems. Bytes restored as unsent that it already has are harmless only as long as the initial congestion
 * window (10 segments) covers them: beyond it its acknowledgement lies ahead of what was sent, and the connection hangs
 * for good. More than this is left to the kernel's own timeout.
 */
const longestResentBytes = 8 * 1024;

/** The socket once the client has answered (or did not in time), with nothing left that waits for a timeout. */
export async function settleTakenSocket(active: ActiveTcp, flow: Flow, clock: Clock): Promise<ActiveTcp> {
  const startMs = clock.monotonicMs();
  if (readRemainder(active.fd) <= 0) return active;
  while (!readConfirmation(active).isConfirmed) {
    if (clock.monotonicMs() - startMs > longestWaitMs) return active;
    await new Promise<void>((resolve) => clock.after(lookMs, resolve));
  }
  const remainder = readRemainder(active.fd);
  if (remainder <= 0 || remainder > longestResentBytes) return active;
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
