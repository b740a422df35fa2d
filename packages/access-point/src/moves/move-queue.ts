/**
 * Moves that were asked for and have not begun, in the order in which they may begin: of operators, of sessions that wait at
 * a safe point, of drains, of the plan.
 *
 * What moves by itself is paced, whichever way it came: a recommendation waits until it may begin; a session has a request in
 * hand and is refused instead.
 */
import { RestitchError } from '@restitch/core';
import type { Clock } from '@restitch/core';
import type { MoveDone, MoveRequest } from './move-request.js';
import type { MovesConfig } from '../config/index.js';
import type { MoveOrigin } from '../model/move-under-way.js';
import type { SessionRegistry } from '../model/session-registry.js';

/** One move that was asked for. */
export interface QueuedMove extends MoveRequest {
  readonly priority: number;
  readonly done: MoveDone;
}

/** How often a list is searched past requests that must wait; bounds one search, not the list. */
const maxLookahead = 64;
/** Recommendations whose sessions have not settled are looked at again so soon. */
const unsettledMs = 100;
/** A session's client waits meanwhile; longer, and its request had better be served where it is. */
const longestAskMs = 50;

const origins = ['manual', 'session', 'drain', 'recommended'] as const satisfies readonly MoveOrigin[];

/** See the head of the file. */
export class MoveQueue {
  readonly #clock: Clock;
  readonly #sessions: SessionRegistry;
  readonly #policy: () => MovesConfig;
  readonly #wake: () => void;
  readonly #lists: Record<MoveOrigin, QueuedMove[]> = { manual: [], session: [], drain: [], recommended: [] };
  /** Timers of asks that wait. */
  readonly #expiries = new Map<QueuedMove, () => void>();
  #nextPacedMs = 0;
  #wakesAtMs = Number.POSITIVE_INFINITY;
  #cancelWake: () => void = () => undefined;

  constructor(clock: Clock, sessions: SessionRegistry, policy: () => MovesConfig, wake: () => void) {
    this.#clock = clock;
    this.#sessions = sessions;
    this.#policy = policy;
    this.#wake = wake;
  }

  get size(): number {
    return origins.reduce((sum, origin) => sum + this.#lists[origin].length, 0);
  }

  /** How many more `maxQueued` lets wait. */
  get room(): number {
    return Math.max(0, this.#policy().maxQueued - this.size);
  }

  /** A session's own is refused (`done`) if it cannot begin in time, at once where that is known. */
  add(move: QueuedMove): void {
    if (move.origin === 'session') this.#ask(move);
    else if (move.origin === 'recommended') {
      const list = this.#lists.recommended;
      const at = list.findIndex((other) => other.priority < move.priority);
      list.splice(at < 0 ? list.length : at, 0, move);
    } else this.#lists[move.origin].push(move);
  }

  /** Removes and returns those that are not wanted any more and have not begun. */
  drop(isOver: (move: QueuedMove) => boolean): QueuedMove[] {
    return origins.flatMap((origin) => this.#dropFrom(origin, isOver));
  }

  /** Removes and returns the next that may begin now; who else waits for the same move hears its end too. */
  take(hasRoom: (move: QueuedMove) => boolean): QueuedMove | undefined {
    const { manual, session, drain, recommended } = this.#lists;
    return (
      takeFrom(manual, hasRoom) ??
      this.#takePaced(session, hasRoom) ??
      takeFrom(drain, hasRoom) ??
      this.#takePaced(recommended, hasRoom)
    );
  }

  #ask(move: QueuedMove): void {
    const { sessionId, done } = move;
    if (this.room === 0) {
      done(new RestitchError('no_capacity', `session ${sessionId}: ${this.size} moves are queued already`));
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    const settledMs = this.#settlesInMs(move, nowMs);
    // Those that ask already go first.
    const pacedMs = Math.max(0, this.#nextPacedMs - nowMs) + this.#lists.session.length * this.#intervalMs;
    const waitMs = Math.max(settledMs, pacedMs);
    if (waitMs > longestAskMs) {
      const limit = settledMs > pacedMs ? 'moves.minimumResidence' : 'moves.perSecond';
      done(tooLate(sessionId, `${limit} lets it begin in ${Math.ceil(waitMs)} ms at the earliest`));
      return;
    }
    this.#lists.session.push(move);
    const expire = (): void => {
      this.#dropFrom('session', (other) => other === move);
      done(tooLate(sessionId, 'as many moves run as moves.concurrency and moves.endpointConcurrency allow'));
    };
    this.#expiries.set(move, this.#clock.after(longestAskMs, expire));
  }

  get #intervalMs(): number {
    const { perSecond } = this.#policy();
    return perSecond === undefined ? 0 : 1000 / perSecond;
  }

  #takePaced(list: QueuedMove[], hasRoom: (move: QueuedMove) => boolean): QueuedMove | undefined {
    if (list.length === 0) return undefined;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#nextPacedMs) {
      this.#wakeIn(this.#nextPacedMs - nowMs);
      return undefined;
    }
    const move = takeFrom(list, (other) => this.#settlesInMs(other, nowMs) <= 0 && hasRoom(other));
    if (move === undefined) {
      const isAsk = list === this.#lists.session;
      const waits = isAsk ? list.map((other) => this.#settlesInMs(other, nowMs)) : [unsettledMs];
      const nextMs = Math.min(...waits.filter((ms) => ms > 0));
      if (Number.isFinite(nextMs)) this.#wakeIn(nextMs);
      return undefined;
    }
    this.#nextPacedMs = nowMs + this.#intervalMs;
    return this.#withTheSame(move);
  }

  /** The plan's entry and its session's own ask are one move. */
  #withTheSame(move: QueuedMove): QueuedMove {
    this.#stopExpiry(move);
    const { sessionId } = move;
    const same = this.#dropFrom('session', (other) => other.sessionId === sessionId);
    if (move.origin === 'session') {
      const { recommended } = this.#lists;
      const at = recommended.findIndex(
        (other) => other.sessionId === sessionId && other.isAutomatic === true,
      );
      if (at >= 0) same.push(...recommended.splice(at, 1));
    }
    if (same.length === 0) return move;
    return { ...move, done: (result) => [move, ...same].forEach(({ done }) => done(result)) };
  }

  #dropFrom(origin: MoveOrigin, isOver: (move: QueuedMove) => boolean): QueuedMove[] {
    const dropped = this.#lists[origin].filter(isOver);
    if (dropped.length === 0) return dropped;
    this.#lists[origin] = this.#lists[origin].filter((move) => !isOver(move));
    for (const move of dropped) this.#stopExpiry(move);
    return dropped;
  }

  #settlesInMs({ sessionId }: QueuedMove, nowMs: number): number {
    const session = this.#sessions.byId(sessionId);
    if (session === undefined) return 0;
    return Math.max(0, session.residesSinceMs + this.#policy().minimumResidenceMs - nowMs);
  }

  #stopExpiry(move: QueuedMove): void {
    this.#expiries.get(move)?.();
    this.#expiries.delete(move);
  }

  #wakeIn(delayMs: number): void {
    const atMs = this.#clock.monotonicMs() + Math.max(1, delayMs);
    if (atMs >= this.#wakesAtMs) return;
    this.#cancelWake();
    this.#wakesAtMs = atMs;
    this.#cancelWake = this.#clock.after(Math.max(1, delayMs), () => {
      this.#wakesAtMs = Number.POSITIVE_INFINITY;
      this.#wake();
    });
  }
}

function takeFrom(list: QueuedMove[], mayBegin: (move: QueuedMove) => boolean): QueuedMove | undefined {
  const end = Math.min(list.length, maxLookahead);
  for (let i = 0; i < end; i++) {
    const move = list[i];
    if (move !== undefined && mayBegin(move)) {
      list.splice(i, 1);
      return move;
    }
  }
  return undefined;
}

function tooLate(sessionId: string, why: string): RestitchError {
  return new RestitchError(
    'deadline_exceeded',
    `session ${sessionId} asked for its move and waits ${longestAskMs} ms for it: ${why}`,
  );
}
