/**
 * The buddy goes on: a replica becomes a socket in service, and then a session.
 *
 * What was promised to the client is restored as sent. Its answer to the probe says what it really has; what it lacks
 * is sent at once from a second socket, instead of after a retransmission timeout (3 s on a socket that has no measure of
 * the round trip yet). Between the two, this host's own guard drops the RST that an arriving packet would draw.
 */
import { type Clock, type Flow, RestitchError } from '@restitch/core';
import { sendBytes } from '@restitch/sys/internal';
import {
  type ActiveTcp,
  readConfirmation,
  readRemainder,
  resetClosing,
  rethawAsSent,
  rethawRemainder,
} from '../tcp/index.js';

/** Each look is a handful of system calls for each of a hundred sessions, and their packets are held for tens of milliseconds. */
const lookMs = 3;
/** A client further away than this gets its tail by the kernel's own timeout. */
const longestWaitMs = 500;

/**
 * No application waits for a tail, and a client whose window is shut says nothing of its own accord: it answers the first
 * retransmission, after a second (three where the timeout cannot be capped). Without its answer all that was promised
 * would come segment by segment, each by a timeout.
 */
const longestWaitOfTailsMs = 3500;

/**
 * The client's answer may be older than the probe (packets that were held carry old acknowledgements), so it may have
 * more than it seems. Bytes restored as unsent that it already has are harmless as long as the initial congestion window
 * (10 segments) covers them: beyond it its acknowledgement lies ahead of what was sent, and is thrown away.
 */
const harmlessBytes = 8 * 1024;

/** Acknowledgements that stand still for this long are the newest: what was held comes in one burst. */
const quietMs = 15;

/** A client that says something and acknowledges nothing for so long has more than it seemed. */
const watchMs = 200;

type Stage =
  | { readonly t: 'hear'; readonly sinceMs: number }
  | { readonly t: 'quiet'; readonly sinceMs: number; readonly remainder: number }
  | { readonly t: 'watch'; readonly sinceMs: number; readonly bytes: number };

/**
 * The socket once the client has answered (or did not in time), with nothing left that waits for a timeout. If it rejects
 * nothing is left of the connection: `onFailed` is called before its client is reset.
 */
export async function settleTakenSocket(
  active: ActiveTcp,
  flow: Flow,
  options: { readonly clock: Clock; readonly isTail: boolean; readonly onFailed: () => void },
): Promise<ActiveTcp> {
  const { clock, isTail, onFailed } = options;
  const settling = new Settling(active, flow, clock.monotonicMs(), isTail);
  try {
    for (;;) {
      const settled = settling.look(clock.monotonicMs());
      if (settled !== undefined) return settled;
      await new Promise<void>((resolve) => clock.after(lookMs, resolve));
    }
  } catch (error) {
    onFailed();
    settling.giveUp(error);
    throw error;
  }
}

/** The steps of settling, each one a look at the socket. */
export class Settling {
  #active: ActiveTcp;
  readonly #flow: Flow;
  readonly #longestWaitMs: number;
  #stage: Stage;

  constructor(active: ActiveTcp, flow: Flow, nowMs: number, isTail = false) {
    this.#active = active;
    this.#flow = flow;
    this.#longestWaitMs = isTail ? longestWaitOfTailsMs : longestWaitMs;
    this.#stage = { t: 'hear', sinceMs: nowMs };
  }

  /** The settled socket, or undefined: look again in a moment. In the socket's own network namespace. */
  look(nowMs: number): ActiveTcp | undefined {
    const stage = this.#stage;
    const waitedMs = nowMs - stage.sinceMs;
    const remainder = readRemainder(this.#active.fd);
    if (stage.t === 'watch') return this.#watch(stage.bytes, waitedMs);
    if (remainder <= 0) return this.#active;
    if (stage.t === 'hear') {
      if (!readConfirmation(this.#active).isConfirmed)
        return waitedMs > this.#longestWaitMs ? this.#active : undefined;
      if (remainder > harmlessBytes) {
        this.#stage = { t: 'quiet', sinceMs: nowMs, remainder };
        return undefined;
      }
      return this.#resend(nowMs);
    }
    if (remainder !== stage.remainder) {
      this.#stage = { t: 'quiet', sinceMs: nowMs, remainder };
      return undefined;
    }
    return waitedMs < quietMs ? undefined : this.#resend(nowMs);
  }

  /** Resets the client, unless the error says that the socket is gone already. */
  giveUp(error: unknown): void {
    if (error instanceof RestitchError && error.code === 'thaw_failed') return;
    resetClosing(this.#active.fd, this.#flow);
  }

  #resend(nowMs: number): ActiveTcp | undefined {
    try {
      const fresh = rethawRemainder(this.#active.fd, this.#flow);
      this.#active = fresh;
      const bytes = fresh.unsent.length;
      // Nothing may be left but our FIN, and that was sent already if the client's acknowledgement came just now: even
      // a write of nothing is an error then.
      const sent = bytes === 0 ? 0 : sendBytes(fresh.fd, fresh.unsent);
      this.#active = { ...fresh, unsent: fresh.unsent.subarray(sent) };
      if (bytes <= harmlessBytes) return this.#active;
      this.#stage = { t: 'watch', sinceMs: nowMs, bytes };
      return undefined;
    } catch (error) {
      // A freeze that fails leaves the socket in service: the tail then comes by the kernel's own timeout.
      // One that its client has just reset ends as any.
      const isAlive = error instanceof RestitchError && error.code === 'freeze_failed';
      if (isAlive || (error instanceof RestitchError && error.code === 'socket_unsupported'))
        return this.#active;
      throw error;
    }
  }

  #watch(bytes: number, waitedMs: number): ActiveTcp | undefined {
    const active = this.#active;
    const { isConfirmed, unacknowledgedBytes } = readConfirmation(active);
    if (unacknowledgedBytes + active.unsent.length < bytes) return active;
    if (waitedMs < watchMs) return undefined;
    return isConfirmed ? rethawAsSent(active, this.#flow) : active;
  }
}
