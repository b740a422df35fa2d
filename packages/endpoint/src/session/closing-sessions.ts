/**
 * Sessions whose application has ended them: told to the access point while their clients lack something, looked at until
 * their connections are over, and bounded by us, because the kernel's own limits for orphans do not apply to a socket whose
 * descriptor is kept.
 *
 * No event tells the end (EPOLLHUP stands at once in LAST_ACK), so it is looked for: soon at first, ever more rarely then.
 */
import { type Clock, type Counters, formatFlow, type Logger } from '@restitch/core';
import type { Closing, FromEndpoint } from '@restitch/wire/internal';
import { errnoName } from '@restitch/sys';
import { type ClosingLook, lookAtClosing } from '../tcp/closing-socket.js';
import { uncapTimeouts } from '../tcp/timers.js';
import type { Session } from './session.js';

type Told = Extract<FromEndpoint, { t: 'closing' }>['sessions'][number];

/** What a closing session may cost. */
export interface ClosingBounds {
  /** Since its client last acknowledged a byte, while it lacks some. */
  readonly timeoutMs: number;
  /** Of all tails of this endpoint. */
  readonly bytes: number;
}

/** What watching them needs. */
export interface ClosingContext {
  readonly bounds: ClosingBounds;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly tell: (message: FromEndpoint) => void;
}

/** A client that has stopped reading for ten minutes does not go on; a slow one acknowledges something meanwhile. */
export const defaultClosingTimeoutMs = 600_000;
/** Kernel memory, and a buddy's: 250 clients that stopped in the middle of a megabyte. */
export const defaultClosingBytes = 256 * 1024 * 1024;

const firstLookMs = 1;
const longestPauseMs = 250;
/** Most connections are over within a round trip: those are not told of. */
const tellAfterMs = 20;
const tellAgainMs = 1000;
const perMessage = 2048;
/** As the kernel's tcp_fin_timeout: a client that has everything and does not close is not waited for longer. */
const clientEndMs = 60_000;
/** A buddy that does not answer holds up an end for so long. */
const settleMs = 5000;

interface Watched {
  readonly session: Session;
  readonly sinceMs: number;
  lookAtMs: number;
  pauseMs: number;
  tailBytes: number;
  progressAtMs: number;
  /** Since when nothing is unacknowledged; or over, and not settled. */
  emptySinceMs: number | undefined;
  toldBytes: number | undefined;
  toldPhase: Session['phase'] | undefined;
  toldAtMs: number;
}

/** The closing sessions of one endpoint. */
export class ClosingSessions {
  readonly #ctx: ClosingContext;
  readonly #watched = new Map<Session, Watched>();
  #cancel: (() => void) | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #news: Told[] = [];

  constructor(context: ClosingContext) {
    this.#ctx = context;
  }

  /** What their clients lack, in all. */
  get bytes(): number {
    let sum = 0;
    for (const { tailBytes } of this.#watched.values()) sum += tailBytes;
    return sum;
  }

  get size(): number {
    return this.#watched.size;
  }

  /** Its application has ended its output, or is through with it. */
  add(session: Session): void {
    const nowMs = this.#ctx.clock.monotonicMs();
    const known = this.#watched.get(session);
    session.tailBytes ??= 0;
    this.#uncap(session);
    if (known !== undefined) {
      Object.assign(known, { lookAtMs: nowMs + firstLookMs, pauseMs: firstLookMs });
    } else {
      this.#watched.set(session, {
        session,
        sinceMs: nowMs,
        lookAtMs: nowMs + firstLookMs,
        pauseMs: firstLookMs,
        tailBytes: 0,
        progressAtMs: nowMs,
        emptySinceMs: undefined,
        toldBytes: undefined,
        toldPhase: undefined,
        toldAtMs: Number.NEGATIVE_INFINITY,
      });
      session.whenOver(() => this.#watched.delete(session));
    }
    this.#schedule(nowMs + firstLookMs);
  }

  /**
   * The kernel may have to finish it alone: of a socket that nobody holds it gives up the peer as soon as the timeout
   * has grown to its longest, which on a socket that came here lately is a second.
   */
  #uncap(session: Session): void {
    if ((session.closingParty?.finisher ?? 'kernel') !== 'kernel' || session.fd < 0) return;
    try {
      uncapTimeouts(session.fd);
    } catch (error) {
      this.#ctx.logger.debug(
        { session: session.id, err: error },
        'the timeouts of a closing session stay capped',
      );
    }
  }

  /** The access point has been away, and its list says how they stand. */
  told(): void {
    for (const watched of this.#watched.values())
      Object.assign(watched, { toldBytes: watched.tailBytes, toldPhase: watched.session.phase });
  }

  close(): void {
    this.#cancel?.();
  }

  #schedule(atMs: number): void {
    if (atMs >= this.#dueAtMs) return;
    this.#cancel?.();
    this.#dueAtMs = atMs;
    const { clock } = this.#ctx;
    this.#cancel = clock.after(Math.max(0, atMs - clock.monotonicMs()), () => this.#lookAround());
  }

  #lookAround(): void {
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#ctx.clock.monotonicMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const watched of this.#watched.values()) {
      if (watched.lookAtMs <= nowMs) this.#look(watched, nowMs);
      nextMs = Math.min(nextMs, watched.lookAtMs);
    }
    this.#boundAll();
    for (let i = 0; i < this.#news.length; i += perMessage)
      this.#ctx.tell({ t: 'closing', sessions: this.#news.slice(i, i + perMessage) });
    this.#news = [];
    if (this.#watched.size > 0) this.#schedule(nextMs);
  }

  #look(watched: Watched, nowMs: number): void {
    const { session } = watched;
    watched.pauseMs = Math.min(longestPauseMs, watched.pauseMs * 2);
    watched.lookAtMs = nowMs + watched.pauseMs;
    const { fd, phase } = session;
    if (phase === 'closed') this.#watched.delete(session);
    if (session.isSpent) this.#onOver(watched, 0, nowMs);
    if ((phase !== 'closing' && phase !== 'live') || fd < 0) return;
    try {
      const at = lookAtClosing(fd);
      if (at.isOver) this.#onOver(watched, at.error, nowMs);
      else this.#onWaiting(watched, at, nowMs);
    } catch (error) {
      this.#ctx.counters.add('endpoint_closing_failures_total');
      this.#ctx.logger.error({ session: session.id, err: error }, 'a closing session cannot be looked at');
    }
  }

  #onOver(watched: Watched, error: number, nowMs: number): void {
    const { session } = watched;
    // Node still has it, and finds out by itself.
    if (!session.isKept && !session.isSpent) return;
    if (error !== 0) {
      session.endClosing(errnoName(error));
      return;
    }
    watched.emptySinceMs ??= nowMs;
    const isSettled = session.closingParty?.isSettled ?? true;
    if (isSettled || nowMs - watched.emptySinceMs > settleMs) session.endClosing('closed');
    else watched.lookAtMs = nowMs + firstLookMs;
  }

  #onWaiting(watched: Watched, at: Extract<ClosingLook, { isOver: false }>, nowMs: number): void {
    const { session } = watched;
    session.closingParty?.looked(at);
    if (at.tailBytes < watched.tailBytes) watched.pauseMs = Math.min(watched.pauseMs, longestPauseMs / 8);
    if (at.tailBytes !== watched.tailBytes || at.tailBytes === 0) watched.progressAtMs = nowMs;
    watched.tailBytes = at.tailBytes;
    session.tailBytes = at.tailBytes;
    if (session.isKept && at.tailBytes === 0) {
      watched.emptySinceMs ??= nowMs;
      // As the kernel's own close: what nobody is going to read is answered by a reset, but not before the rest is there.
      if (at.unreadBytes > 0 || session.closing === 'reset') return this.#reset(session, 'unread_input');
      if (!at.finReceived && nowMs - watched.emptySinceMs > clientEndMs) return session.endClosing('closed');
    } else if (session.phase === 'closing' && nowMs - watched.progressAtMs > this.#ctx.bounds.timeoutMs) {
      return this.#reset(session, 'closing_timeout');
    }
    this.#note(watched, nowMs);
  }

  #note(watched: Watched, nowMs: number): void {
    const { session, tailBytes, toldBytes, toldAtMs, sinceMs } = watched;
    const isOther = tailBytes !== toldBytes || session.phase !== watched.toldPhase;
    if (nowMs - sinceMs < tellAfterMs || !isOther || nowMs - toldAtMs < tellAgainMs) return;
    Object.assign(watched, { toldBytes: tailBytes, toldAtMs: nowMs, toldPhase: session.phase });
    const { id, flow, epoch } = session;
    this.#news.push({ id, flow, epoch, closing: closingOf(session) });
  }

  /** The longest without progress go first. */
  #boundAll(): void {
    let sum = this.bytes;
    if (sum <= this.#ctx.bounds.bytes) return;
    const kept = [...this.#watched.values()].filter((w) => w.session.phase === 'closing');
    kept.sort((a, b) => a.progressAtMs - b.progressAtMs);
    for (const { session, tailBytes } of kept) {
      if (sum <= this.#ctx.bounds.bytes) return;
      sum -= tailBytes;
      this.#reset(session, 'closing_bytes');
    }
  }

  #reset(session: Session, reason: string): void {
    const { counters, logger } = this.#ctx;
    counters.add(`endpoint_closing_resets_${reason}_total`);
    const { id, flow } = session;
    const what = { session: id, flow: formatFlow(flow), tailBytes: session.tailBytes, reason };
    if (reason === 'unread_input') logger.debug(what, 'closing session is reset');
    else logger.warn(what, 'closing session is reset');
    session.resetClosing(reason);
  }
}

/** How it is reported. */
export function closingOf(session: Session): Closing {
  return {
    tailBytes: Math.max(0, session.tailBytes ?? 0),
    finisher: session.closingParty?.finisher ?? 'kernel',
    ...(session.phase === 'live' ? { hasApplication: true } : {}),
  };
}
