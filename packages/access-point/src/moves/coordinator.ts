/**
 * Decides which moves run when, and what follows when one ends. A single move's life is `move.ts`.
 *
 * It is the one way to a move: what operators, drains, the plan and sessions ask for waits in one queue (move-queue.ts).
 */
import { RestitchError } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import { chooseTarget } from './choose-target.js';
import type { MovesConfig } from '../config/index.js';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { FlowBatch } from '../model/flow-batch.js';
import type { MoveHistory, MoveRecord } from '../model/history.js';
import type { MoveState } from '../model/life-cycle.js';
import { MoveGate } from './move-gate.js';
import type { MoveDone, MoveRequest, MoveResult } from './move-request.js';
import { Move } from './move.js';
import type { MoveContext } from './move-context.js';
import { isThrough } from '../model/session-registry.js';
import type { Session, SessionRegistry } from '../model/session-registry.js';
import { MoveQueue } from './move-queue.js';
import type { QueuedMove } from './move-queue.js';

/** What the coordinator works with. */
export interface CoordinatorDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly batch: FlowBatch;
  readonly sessions: SessionRegistry;
  readonly endpoints: EndpointRegistry;
  readonly history: MoveHistory;
  /** A move ended without anybody's word on who serves the session. */
  readonly onDoubt: (session: Session) => void;
  /** False while the endpoint may be dead. */
  readonly mayReceive: (endpoint: Endpoint) => boolean;
  /** Read at each use, so that a reload counts from the next move on. */
  readonly policy: () => MovesConfig;
  /** Begins the ids of this daemon's moves: endpoints may still speak of those of the one before. */
  readonly idPrefix: string;
}

interface Running {
  readonly move: Move;
  readonly request: QueuedMove;
  readonly tried: Set<Endpoint>;
  /** Of the session's own asks while it is in this move: they hear how it ends. */
  readonly joined: MoveDone[];
  /** Whoever wanted it has been told to stop. */
  isLastTry?: boolean;
}

/** Fewer moves than this do not share TLS writes anyway. */
const crowd = 8;

/** Runs the moves of one access point. */
export class Coordinator {
  readonly #deps: CoordinatorDeps;
  readonly #context: MoveContext;
  readonly #queue: MoveQueue;
  readonly #gate: MoveGate;
  #begun = 0;
  readonly #running = new Map<string, Running>();
  /** Laboratory: states at whose door moves wait. */
  readonly #pausedStates = new Set<MoveState>();

  constructor(deps: CoordinatorDeps) {
    this.#deps = deps;
    this.#queue = new MoveQueue(deps.clock, deps.sessions, deps.policy, () => this.pump());
    this.#gate = new MoveGate(deps.clock, () => deps.policy().budgetMs);
    this.#context = {
      clock: deps.clock,
      counters: deps.counters,
      batch: deps.batch,
      policy: deps.policy,
      isCrowded: () => this.#running.size > crowd,
      askAdmission: (move) => this.#gate.enter(move),
      leaveAdmission: (move) => this.#gate.leave(move),
      onSwitched: (move) => this.#onSwitched(move),
      mayReceive: deps.mayReceive,
      onEnd: (move) => this.#onEnd(move),
      isPausedAt: (_move, state) => this.#pausedStates.has(state),
    };
  }

  /** Moves under way. */
  running(): Move[] {
    return [...this.#running.values()].map((entry) => entry.move);
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** How many more may wait. */
  get room(): number {
    return this.#queue.room;
  }

  /** True if this daemon gave a move that id, under way or ended. */
  isOwnMove(moveId: string): boolean {
    return moveId.startsWith(this.#deps.idPrefix);
  }

  byId(moveId: string): Move | undefined {
    return this.#running.get(moveId)?.move;
  }

  /** Asks for a move; it begins when there is room. What is under way already is not asked for again: `done` hears how that ends. */
  request(request: MoveRequest, done: MoveDone): void {
    const moving = this.#running.get(this.#deps.sessions.byId(request.sessionId)?.move?.id ?? '');
    const isTheSame = request.isAutomatic === true && moving?.request.isAutomatic === true;
    if (moving !== undefined && (isTheSame || request.origin === 'session')) {
      moving.joined.push(done);
      return;
    }
    try {
      this.#assertMovable(request);
    } catch (error) {
      done(error as RestitchError);
      return;
    }
    this.#queue.add({ ...request, priority: request.priority ?? 0, done });
    this.pump();
  }

  /** The same as a promise. */
  migrate(request: MoveRequest): Promise<MoveResult> {
    return new Promise((resolve, reject) =>
      this.request(request, (result) => {
        if (result instanceof RestitchError) reject(result);
        else resolve(result);
      }),
    );
  }

  /** Begins what there is room for. */
  pump(): void {
    while (this.#running.size < this.#deps.policy().concurrency) {
      const request = this.#queue.take((queued) => this.#hasRoom(queued));
      if (request === undefined) return;
      this.#begin(request);
    }
  }

  /** Forgets what the analytics asked for and has not begun, and tries no further targets for what has. */
  dropAutomatic(): number {
    for (const entry of this.#running.values())
      if (entry.request.isAutomatic === true) entry.isLastTry = true;
    return this.#drop(({ isAutomatic }) => isAutomatic === true, 'automatic moves were stopped');
  }

  /** Forgets what a drain of this endpoint asked for and has not begun. */
  dropDrain(endpoint: Endpoint): number {
    const isOver = ({ origin, from }: QueuedMove): boolean => origin === 'drain' && from === endpoint.name;
    return this.#drop(isOver, `the drain of ${endpoint.name} is over`);
  }

  #drop(isOver: (queued: QueuedMove) => boolean, why: string): number {
    const dropped = this.#queue.drop(isOver);
    for (const { sessionId, done } of dropped)
      done(new RestitchError('closed', `session ${sessionId}: ${why}`));
    return dropped.length;
  }

  /** The endpoint's control connection is gone. */
  endpointLost(endpoint: Endpoint): void {
    for (const move of endpoint.moves) {
      move.post(move.source === endpoint ? 'source-lost' : 'target-lost', lost(endpoint));
    }
  }

  /** The session has ended at its owner. */
  sessionEnded(session: Session): void {
    session.move?.post(
      'session-ended',
      new RestitchError('unknown_session', `session ${session.id} ended at ${session.owner.name}`),
    );
  }

  /** Laboratory: moves stop before they enter `state`, until `resume`. */
  pauseAt(state: MoveState): void {
    this.#pausedStates.add(state);
  }

  /** Laboratory: nothing pauses any more, paused moves go on. */
  resume(): void {
    this.#pausedStates.clear();
    for (const move of this.running()) move.resume();
  }

  #assertMovable(request: MoveRequest): Session {
    const session = this.#deps.sessions.byId(request.sessionId);
    if (session === undefined) throw new RestitchError('unknown_session', `no session ${request.sessionId}`);
    if (request.from !== undefined && request.from !== session.owner.name) {
      throw new RestitchError(
        'stale_epoch',
        `session ${session.id} is to leave ${request.from} and is on ${session.owner.name} by now`,
      );
    }
    // Who has pinned a tail is through with it.
    if (session.pinned !== undefined && !isThrough(session) && request.isForced !== true) {
      throw new RestitchError('session_pinned', `session ${session.id} is pinned: ${session.pinned}`);
    }
    if (request.target !== undefined) {
      const target = this.#deps.endpoints.require(request.target);
      if (target === session.owner) {
        throw new RestitchError('no_target', `session ${session.id} is on ${target.name} already`);
      }
    }
    if (session.isFinishing === true) {
      throw new RestitchError(
        'peer_lost',
        `session ${session.id}: its process has ended, its kernel finishes it`,
      );
    }
    if (isThrough(session) && request.isAutomatic === true) {
      throw new RestitchError('unknown_session', `session ${session.id}: its application has ended it`);
    }
    if (session.doubt !== undefined)
      throw new RestitchError('session_moving', `session ${session.id}: ${session.doubt}`);
    if (session.move !== undefined && request.origin !== 'manual') {
      throw new RestitchError('session_moving', `session ${session.id} is in move ${session.move.id}`);
    }
    return session;
  }

  #hasRoom({ sessionId, target: targetName }: QueuedMove): boolean {
    const session = this.#deps.sessions.byId(sessionId);
    if (session === undefined) return true;
    if (session.move !== undefined) return false;
    const most = this.#deps.policy().endpointConcurrency;
    if (session.owner.moves.size >= most) return false;
    const target = targetName === undefined ? undefined : this.#deps.endpoints.byName(targetName);
    return target === undefined || target.moves.size < most;
  }

  /** `before` is the attempt before and its record, which is the answer if there is no further target. */
  #begin(request: QueuedMove, before?: Running & { readonly record: MoveRecord }): void {
    const { tried, joined } = before ?? { tried: new Set<Endpoint>(), joined: [] };
    let session: Session;
    let target: Endpoint;
    try {
      session = this.#assertMovable(request);
      target = this.#targetFor(request, session, tried);
    } catch (error) {
      if (before === undefined) request.done(error as RestitchError);
      else tell(before, before.record);
      return;
    }
    const { idPrefix, counters } = this.#deps;
    const move = new Move(this.#context, `${idPrefix}${(++this.#begun).toString(36)}`, session, target);
    move.origin = request.origin;
    move.isForced = request.isForced === true;
    session.move = move;
    move.source.moves.add(move);
    target.moves.add(move);
    target.reserved++;
    this.#running.set(move.id, { move, request, tried: tried.add(target), joined });
    counters.add('moves_begun_total');
    counters.add(`moves_begun_${request.origin}_total`);
    move.start();
  }

  #targetFor(request: QueuedMove, session: Session, tried: ReadonlySet<Endpoint>): Endpoint {
    if (request.target !== undefined && tried.size === 0) return this.#deps.endpoints.require(request.target);
    const target = chooseTarget(session, this.#deps.endpoints.all(), tried);
    if (target !== undefined) return target;
    throw new RestitchError(
      'no_target',
      `no healthy endpoint may take session ${session.id} of ${session.owner.name}`,
    );
  }

  #onSwitched(move: Move): void {
    this.#deps.sessions.setOwner(move.session, move.target, move.epoch);
    move.target.reserved--;
    move.session.residesSinceMs = this.#deps.clock.monotonicMs();
    move.session.moves++;
  }

  #onEnd(move: Move): void {
    const entry = this.#running.get(move.id);
    if (entry === undefined) return;
    this.#running.delete(move.id);
    move.source.moves.delete(move);
    move.target.moves.delete(move);
    if (move.switchNs === 0n) move.target.reserved--;
    if (move.session.move === move) move.session.move = undefined;
    // A take-over knows better than a move whose source died.
    const isTakenOver =
      move.session.isOrphan === true ||
      move.session.isFinishing === true ||
      (move.switchNs === 0n && move.session.owner !== move.source);
    if (move.outcome === 'failed' && !isTakenOver) {
      move.session.doubt = 'its last move ended without an answer from its owner';
      this.#deps.onDoubt(move.session);
    }
    const record = this.#deps.history.add(move);
    this.#deps.counters.add(`moves_${record.outcome}_total`);
    if (record.unconfirmed) this.#deps.counters.add('moves_unconfirmed_total');
    if (record.outcome !== 'committed') {
      const { failure, moveId, sessionId, source, target, outcome } = record;
      this.#deps.logger.warn(
        { moveId, sessionId, source, target, outcome, ...failure },
        'move did not commit',
      );
    }
    if (this.#triesNext(record, entry)) {
      this.#begin(entry.request, { ...entry, record });
      return;
    }
    tell(entry, record);
    this.pump();
  }

  #triesNext(record: MoveRecord, entry: Running): boolean {
    if (entry.isLastTry === true) return false;
    const { onTargetFailure, maxTargets } = this.#deps.policy();
    if (onTargetFailure !== 'next-target' || entry.tried.size >= maxTargets) return false;
    if (record.outcome !== 'refused' && record.outcome !== 'reverted') return false;
    if (!isTargetsFault(record)) return false;
    return this.#deps.sessions.byId(record.sessionId) === entry.move.session;
  }
}

/** Everybody who wants this move hears how it ended. */
function tell({ request, joined, tried }: Running, record: MoveRecord): void {
  const result = { attempts: tried.size, record };
  for (const done of [request.done, ...joined]) done(result);
}

/** True where another target may do better. */
function isTargetsFault(record: MoveRecord): boolean {
  const step = record.failure?.step;
  if (step === 'prepare' && record.failure?.code === 'version_unsupported') return true;
  if (step === 'prepare' || step === 'hold') return record.failure?.code === 'peer_lost';
  return step === 'reserve' || step === 'transfer' || step === 'thaw' || step === 'freeze';
}

function lost(endpoint: Endpoint): RestitchError {
  return new RestitchError('peer_lost', `the control connection to ${endpoint.name} is lost`);
}
