/** All sessions of this endpoint, by id and by flow, and the highest epoch seen of those that have left. */
import { type Flow, RestitchError, formatFlow } from '@restitch/core';
import type { SessionReport } from '@restitch/wire/internal';
import { closingOf } from './session/closing-sessions.js';
import type { Session } from './session/session.js';

/** Epochs of sessions that left are remembered for replays; this many, oldest forgotten first. */
const maxRememberedEpochs = 65_536;

/** Sessions by id and by flow. */
export class SessionTable {
  readonly #byId = new Map<string, Session>();
  readonly #byFlow = new Map<string, Session>();
  readonly #leftEpochs = new Map<string, number>();

  get size(): number {
    return this.#byId.size;
  }

  add(session: Session): void {
    this.#byId.set(session.id, session);
    this.#byFlow.set(formatFlow(session.flow), session);
  }

  /** Forgets a session; `epoch` is the highest one known for it. */
  remove(session: Session, epoch: number): void {
    if (this.#byId.get(session.id) === session) this.#byId.delete(session.id);
    const key = formatFlow(session.flow);
    if (this.#byFlow.get(key) === session) this.#byFlow.delete(key);
    this.#leftEpochs.delete(session.id);
    this.#leftEpochs.set(session.id, epoch);
    if (this.#leftEpochs.size > maxRememberedEpochs) {
      const oldest = this.#leftEpochs.keys().next().value;
      if (oldest !== undefined) this.#leftEpochs.delete(oldest);
    }
  }

  get(id: string): Session | undefined {
    return this.#byId.get(id);
  }

  /** Throws `unknown_session`. */
  need(id: string): Session {
    const session = this.#byId.get(id);
    if (session === undefined || session.phase === 'closed') {
      throw new RestitchError('unknown_session', `no session ${id} here`, { details: { sessionId: id } });
    }
    return session;
  }

  ownsFlow(flow: Flow): boolean {
    return this.#byFlow.has(formatFlow(flow));
  }

  /** Highest epoch this endpoint has seen of a session; 0 if it never had it. */
  knownEpoch(id: string): number {
    return Math.max(this.#byId.get(id)?.epoch ?? 0, this.#leftEpochs.get(id) ?? 0);
  }

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#byId.values();
  }
}

/** What is said of a live session. */
export function toReport(session: Session): SessionReport {
  const pinned = session.pinned;
  return {
    id: session.id,
    flow: session.flow,
    epoch: session.epoch,
    phase: session.closing === undefined ? 'live' : 'closing',
    openedAtMs: session.openedAtMs,
    ...(session.tailBytes === undefined ? {} : { closing: closingOf(session) }),
    ...(pinned === undefined ? {} : { pinned }),
  };
}
