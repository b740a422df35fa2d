/**
 * The buddy goes on: a replica becomes a socket in service, and then a session.
 *
 * What was promised to the client is restored as sent. Its answer to the probe says what it really has; what it lacks
 * is sent at once from a second socket, instead of after a retransmission timeout (3 s on a socket that has no measure of
 * the round trip yet, doubling). Between the two, this host's own guard drops the RST that an arriving packet would draw.
 *
 * Nothing leaves this host while its lease has lapsed, which the death of a daemon brings with it: no question would be
 * heard, and what is sent anew would wait for timeouts after all. So that is waited for.
 */
import {
  addSeq,
  type Clock,
  diffSeq,
  type Flow,
  formatFlow,
  type Logger,
  RestitchError,
} from '@restitch/core';
import type { Witness } from '@restitch/guard/internal';
import {
  detachFilter,
  getTcpInfo,
  sendBytes,
  tcpState,
  unacknowledgedBytes,
  unsentBytes,
} from '@restitch/sys/internal';
import {
  type ActiveTcp,
  probeClient,
  readConfirmation,
  readRemainder,
  resetClosing,
  rethawAsSent,
  rethawRemainder,
  uncapTimeouts,
} from '../tcp/index.js';
import { closeSilently } from './client-witness.js';

/** Each look is a handful of system calls for each of a hundred sessions, and their packets are held for tens of milliseconds. */
const lookMs = 3;
/** A lease comes back when a daemon does. */
const lapsedLookMs = 20;
/** A client that has not answered by then gets its tail by the kernel's own timeout. */
const longestWaitMs = 1500;

/** No application waits for a tail. */
const longestWaitOfTailsMs = 3500;

/** A probe or its answer may be lost; a client answers at most one in 500 ms (tcp_invalid_ratelimit). */
const probeAgainMs = 600;

/**
 * The client's answer may be older than the probe (packets that were held carry old acknowledgements), so it may have
 * more than it seems. Bytes restored as unsent that it already has are harmless as long as the initial congestion window
 * (10 segments) covers them: beyond it its acknowledgement lies ahead of what was sent, and is thrown away.
 */
const harmlessBytes = 8 * 1024;

/** Acknowledgements that stand still for this long are the newest: what was held comes in one burst. */
const quietMs = 15;

/** A client that acknowledges nothing for so long has more than it seemed, as its segments say, or has no room. */
const watchMs = 200;

/** Finding out that the client has more happens once; never is it asked for ever. */
const longestRounds = 3;

type Stage =
  | { readonly t: 'hear'; readonly sinceMs: number; readonly probedAtMs: number }
  | { readonly t: 'quiet'; readonly sinceMs: number; readonly remainder: number }
  | { readonly t: 'watch'; readonly sinceMs: number; readonly bytes: number; readonly startSeq: number }
  | { readonly t: 'lapsed' };

/** What settling stands on. */
export interface SettlingContext {
  /** Sees what the client says, also where its socket does not take it; in the place of the socket's filter. */
  readonly attachWitness: (fd: number) => Witness;
  /** This host's lease runs. */
  readonly isLeased: () => boolean;
}

/** How one session is settled. */
export interface SettleOptions extends SettlingContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly isTail: boolean;
  /** This process was declared dead meanwhile: the session is somebody else's. */
  readonly isCancelled: () => boolean;
  /** Nothing is left of the connection; called before its client is reset. */
  readonly onFailed: () => void;
}

/**
 * The socket once the client has answered (or did not in time), with nothing left that waits for a timeout; undefined if
 * it was cancelled, and closed without a packet. Rejects if nothing is left of the connection.
 */
export async function settleTakenSocket(
  active: ActiveTcp,
  flow: Flow,
  options: SettleOptions,
): Promise<ActiveTcp | undefined> {
  const { clock, logger, isCancelled, onFailed } = options;
  const beganMs = clock.monotonicMs();
  const settling = new Settling(active, flow, beganMs, options);
  try {
    for (;;) {
      const settled = settling.look(clock.monotonicMs());
      if (settled !== undefined) {
        const tookMs = Math.round(clock.monotonicMs() - beganMs);
        logger.debug({ flow: formatFlow(flow), tookMs, ...settling.outcome }, 'taken session settled');
        return settled;
      }
      await new Promise<void>((resolve) => clock.after(settling.pauseMs, resolve));
      if (!isCancelled()) continue;
      settling.cancel();
      return undefined;
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
  readonly #context: SettlingContext;
  readonly #longestWaitMs: number;
  #stage: Stage;
  #witness: Witness | undefined;
  #rounds = 0;

  constructor(
    active: ActiveTcp,
    flow: Flow,
    nowMs: number,
    context: SettlingContext & { readonly isTail?: boolean },
  ) {
    this.#active = active;
    this.#flow = flow;
    this.#context = context;
    this.#longestWaitMs = context.isTail === true ? longestWaitOfTailsMs : longestWaitMs;
    this.#stage = { t: 'hear', sinceMs: nowMs, probedAtMs: nowMs };
  }

  /** For the log: the last step, how often something was sent anew, and what the client lacks. */
  get outcome(): Readonly<Record<string, unknown>> {
    const { fd, unsent } = this.#active;
    return {
      step: this.#stage.t,
      rounds: this.#rounds,
      inKernel: unacknowledgedBytes(fd),
      notSent: unsentBytes(fd),
      beyond: unsent.length,
    };
  }

  /** How long to wait before the next look. */
  get pauseMs(): number {
    return this.#stage.t === 'lapsed' ? lapsedLookMs : lookMs;
  }

  /** The settled socket, or undefined: look again in a moment. In the socket's own network namespace. */
  look(nowMs: number): ActiveTcp | undefined {
    const stage = this.#stage;
    if (!this.#context.isLeased()) {
      this.#stage = { t: 'lapsed' };
      return undefined;
    }
    if (stage.t === 'watch') return this.#watch(stage, nowMs);
    const remainder = readRemainder(this.#active.fd);
    if (remainder <= 0 && stage.t !== 'lapsed') return this.#settled();
    switch (stage.t) {
      case 'lapsed':
        return this.#askAnew(nowMs);
      case 'hear':
        if (readConfirmation(this.#active).isConfirmed) return this.#heard(remainder, nowMs);
        return this.#waitForWord(stage, nowMs);
      case 'quiet':
        if (remainder !== stage.remainder) this.#stage = { t: 'quiet', sinceMs: nowMs, remainder };
        else if (nowMs - stage.sinceMs >= quietMs) return this.#resend(nowMs);
        return undefined;
    }
  }

  /** Closes without a packet. */
  cancel(): void {
    this.#witness?.close();
    closeSilently(this.#active.fd);
  }

  /** Resets the client, unless the error says that the socket is gone already. */
  giveUp(error: unknown): void {
    this.#witness?.close();
    if (error instanceof RestitchError && error.code === 'thaw_failed') return;
    resetClosing(this.#active.fd, this.#flow);
  }

  #settled(): ActiveTcp {
    this.#leaveWitness();
    return this.#active;
  }

  #leaveWitness(): void {
    if (this.#witness === undefined) return;
    detachFilter(this.#active.fd);
    this.#witness.close();
    this.#witness = undefined;
  }

  /** What was heard before may be older than what was sent: only what comes from now on counts. */
  #askAnew(nowMs: number): undefined {
    this.#leaveWitness();
    this.#active = { ...this.#active, ownSegsIn: getTcpInfo(this.#active.fd).segsIn };
    this.#probe();
    this.#stage = { t: 'hear', sinceMs: nowMs, probedAtMs: nowMs };
  }

  /** For a socket with a FIN in either direction the kernel sends no probe; made anew it is open for a moment, and does. */
  #probe(): void {
    const { fd, endAfterUnsent, timers } = this.#active;
    if (getTcpInfo(fd).state === tcpState.established) return probeClient(fd);
    try {
      this.#active = { ...rethawAsSent(this.#active, this.#flow), endAfterUnsent, timers };
    } catch (error) {
      // It serves on as it is, and its client answers a retransmission.
      if (!(error instanceof RestitchError) || error.code !== 'freeze_failed') throw error;
    }
  }

  #waitForWord(stage: Extract<Stage, { t: 'hear' }>, nowMs: number): ActiveTcp | undefined {
    if (nowMs - stage.sinceMs > this.#longestWaitMs) return this.#settled();
    if (nowMs - stage.probedAtMs < probeAgainMs) return undefined;
    this.#probe();
    this.#stage = { ...stage, probedAtMs: nowMs };
    return undefined;
  }

  #heard(remainder: number, nowMs: number): ActiveTcp | undefined {
    if (remainder <= harmlessBytes) return this.#resend(nowMs);
    this.#stage = { t: 'quiet', sinceMs: nowMs, remainder };
    return undefined;
  }

  #resend(nowMs: number): ActiveTcp | undefined {
    try {
      this.#leaveWitness();
      const replaceFilter = (fd: number): void => {
        this.#witness = this.#context.attachWitness(fd);
      };
      const before = this.#active;
      const fresh = rethawRemainder(before.fd, this.#flow, { replaceFilter });
      // A client that has no room may throw away what lies within the window it had offered.
      uncapTimeouts(fresh.fd);
      this.#active = {
        ...fresh,
        unsent: Buffer.concat([fresh.unsent, before.unsent]),
        endAfterUnsent: fresh.endAfterUnsent || before.endAfterUnsent,
        timers: before.timers ?? fresh.timers,
      };
      const bytes = this.#active.unsent.length;
      // Nothing may be left but our FIN, and that was sent already if the client's acknowledgement came just now: even
      // a write of nothing is an error then.
      const sent = bytes === 0 ? 0 : sendBytes(fresh.fd, this.#active.unsent);
      this.#active = { ...this.#active, unsent: this.#active.unsent.subarray(sent) };
      if (bytes <= harmlessBytes || ++this.#rounds >= longestRounds) return this.#settled();
      this.#stage = { t: 'watch', sinceMs: nowMs, bytes, startSeq: fresh.startSeq };
      return undefined;
    } catch (error) {
      // A freeze that fails leaves the socket in service: the tail then comes by the kernel's own timeout.
      // One that its client has just reset ends as any.
      const isAlive = error instanceof RestitchError && error.code === 'freeze_failed';
      if (isAlive || (error instanceof RestitchError && error.code === 'socket_unsupported'))
        return this.#settled();
      throw error;
    }
  }

  #watch({ bytes, startSeq, sinceMs }: Extract<Stage, { t: 'watch' }>, nowMs: number): ActiveTcp | undefined {
    const { fd, unsent } = this.#active;
    const unacknowledged = unacknowledgedBytes(fd);
    if (unacknowledged + unsent.length < bytes) return this.#settled();
    const sentTo = addSeq(startSeq, unacknowledged - unsentBytes(fd));
    if (this.#isClientPast(sentTo, addSeq(startSeq, bytes + 1))) return this.#takeBack(nowMs);
    // It has what it said and no more: what it gets, and when, is up to its window.
    return nowMs - sinceMs < watchMs ? undefined : this.#settled();
  }

  /** It has acknowledged more than `sentTo`, and nothing that was never promised. */
  #isClientPast(sentTo: number, end: number): boolean {
    const said = this.#witness?.read();
    if (said === undefined || said.seen === 0) return false;
    return diffSeq(said.ack, sentTo) > 0 && diffSeq(said.ack, end) <= 0;
  }

  /** The client is ahead of all that was sent; as sent it counts, and what is missing then is known. */
  #takeBack(nowMs: number): undefined {
    this.#leaveWitness();
    const { endAfterUnsent, timers } = this.#active;
    this.#active = { ...rethawAsSent(this.#active, this.#flow), endAfterUnsent, timers };
    this.#stage = { t: 'hear', sinceMs: nowMs, probedAtMs: nowMs };
  }
}
