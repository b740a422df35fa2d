/** All sessions the endpoints have told of, found by id and by flow in one step. */
import { formatFlow } from '@restitch/core';
import type { Flow } from '@restitch/core';
import type { Closing, SessionReport } from '@restitch/wire/internal';
import type { Endpoint } from './endpoint-registry.js';
import type { MoveUnderWay } from './move-under-way.js';

/**
 * One session as the access point knows it. What others follow (owner, buddy, pin, closing) changes through the registry, which
 * tells its watcher. The rest is written by the wing that finds it out: a move by `moves`, what a death left by `failover`, an end
 * by `control`, and a doubt by whichever of `moves`, `ownership` and `failover` loses the owner or finds it again.
 */
export interface Session {
  readonly id: string;
  readonly flow: Flow;
  readonly openedAtMs: number;
  owner: Endpoint;
  epoch: number;
  /** Highest epoch ever offered for it; a failed attempt uses its epoch up. */
  lastEpoch: number;
  /** CLOCK_MONOTONIC milliseconds since when it is where it is. */
  residesSinceMs: number;
  moves: number;
  pinned: string | undefined;
  move: MoveUnderWay | undefined;
  /** Set while nobody can say who serves it (a party of its move is lost): no new move begins. */
  doubt: string | undefined;
  /** Who keeps its replica, as its owner says; undefined if nobody does, or it is not protected. */
  buddy?: { readonly name: string; readonly isReady: boolean } | undefined;
  /**
   * Its application has ended it, or its output, and its client lacks something yet; `isThrough` tells which. It ends with
   * its owner's `ended`, as any other.
   */
  closing?: Closing | undefined;
  /** Its owner died; its buddy is about to take it over. Nobody else may forget it. */
  isOrphan?: boolean;
  /** Its process has ended, and the kernel of its host delivers the rest: see finishing.ts, which alone may end it. */
  isFinishing?: boolean;
  /** Its host's agent has said of this epoch that its kernel is done with it. */
  kernelDoneEpoch?: number;
  /** How it ended, as its owner said; undefined while it lives, or if nobody said. */
  end?: 'reset' | 'closed';
}

/** What changes in the index, for those who follow it. */
export interface SessionWatcher {
  added(session: Session): void;
  removed(session: Session): void;
  /** `session.owner` is another than before. */
  moved(session: Session): void;
  /** `session.pinned` is another than before. */
  pinned(session: Session): void;
  /** `session.buddy` is another than before. */
  buddy(session: Session): void;
  /** Its application is through with it, or, on its owner's word, not after all. */
  closing(session: Session): void;
}

/** The index of sessions. */
export class SessionRegistry {
  #watcher: SessionWatcher | undefined;
  readonly #byId = new Map<string, Session>();
  readonly #byFlow = new Map<string, Session>();

  get size(): number {
    return this.#byId.size;
  }

  /** Its owner says who keeps a copy of it. */
  setBuddy(session: Session, buddy: Session['buddy']): void {
    session.buddy = buddy;
    this.#watcher?.buddy(session);
  }

  /** One watcher; undefined takes it away. */
  watch(watcher: SessionWatcher | undefined): void {
    this.#watcher = watcher;
  }

  /** Its application says that it may not move, or with undefined that it may. */
  setPinned(session: Session, reason: string | undefined): void {
    if (session.pinned === reason) return;
    session.pinned = reason;
    this.#watcher?.pinned(session);
  }

  /** Its owner says how much its client lacks, or with undefined that its application still has it. */
  setClosing(session: Session, closing: Closing | undefined): void {
    const before = isThrough(session);
    session.closing = closing;
    if (isThrough(session) !== before) this.#watcher?.closing(session);
  }

  byId(id: string): Session | undefined {
    return this.#byId.get(id);
  }

  byFlow(flow: Flow): Session | undefined {
    return this.#byFlow.get(formatFlow(flow));
  }

  /** By the flow as `formatFlow` writes it. */
  byFlowText(text: string): Session | undefined {
    return this.#byFlow.get(text);
  }

  all(): IterableIterator<Session> {
    return this.#byId.values();
  }

  /** Adds a session; one that had its id or its flow before is removed and returned. */
  add(session: Session): Session | undefined {
    const key = formatFlow(session.flow);
    const before = this.#byId.get(session.id) ?? this.#byFlow.get(key);
    if (before !== undefined) this.remove(before);
    this.#byId.set(session.id, session);
    this.#byFlow.set(key, session);
    session.owner.sessions.add(session);
    this.#watcher?.added(session);
    return before;
  }

  remove(session: Session): void {
    session.owner.sessions.delete(session);
    if (this.#byId.get(session.id) === session) this.#byId.delete(session.id);
    const key = formatFlow(session.flow);
    if (this.#byFlow.get(key) === session) this.#byFlow.delete(key);
    this.#watcher?.removed(session);
  }

  /** The record was switched: `session` is `owner`'s from now on, under `epoch`. */
  setOwner(session: Session, owner: Endpoint, epoch: number): void {
    const isOther = session.owner !== owner;
    session.owner.sessions.delete(session);
    session.owner = owner;
    // Another process serves it: no kernel has to finish it.
    if (isOther) session.isFinishing = false;
    session.buddy = undefined;
    session.epoch = epoch;
    session.lastEpoch = Math.max(session.lastEpoch, epoch);
    if (this.#byId.get(session.id) === session) owner.sessions.add(session);
    if (isOther) this.#watcher?.moved(session);
  }
}

/** True if no application has it any more: what is left is to deliver the rest to its client. */
export function isThrough({ closing }: Session): boolean {
  return closing !== undefined && closing.hasApplication !== true;
}

/** How a reported session stands: one that is live, and tells what its client lacks, has an application that reads on. */
export function closingOf({ phase, closing }: SessionReport): Closing | undefined {
  return closing === undefined || phase !== 'live' ? closing : { ...closing, hasApplication: true };
}

/** A session as its owner reports it. */
export function makeSession(owner: Endpoint, report: SessionReport, nowMs: number): Session {
  return {
    id: report.id,
    flow: report.flow,
    openedAtMs: report.openedAtMs,
    owner,
    epoch: report.epoch,
    lastEpoch: report.epoch,
    residesSinceMs: nowMs,
    moves: 0,
    pinned: report.pinned,
    move: undefined,
    doubt: undefined,
    closing: closingOf(report),
  };
}
