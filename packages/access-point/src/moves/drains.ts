/**
 * Drains: an endpoint gets no new flows, and everything it has is moved away until nothing is left: no session, no move,
 * and in no socket of its host a byte or a FIN that a client has not acknowledged.
 *
 * Who wants it is in drain-wishes.ts; a drain runs as long as anybody does.
 */
import type { Clock, Counters, Logger } from '@restitch/core';
import { RestitchError } from '@restitch/core';
import type { MovesConfig } from '../config/index.js';
import type { Coordinator } from './coordinator.js';
import type { MoveResult } from './move-request.js';
import { whatIsStuck } from './drain-progress.js';
import type { DrainProgress, OnDrainDeadline, Refusal } from './drain-progress.js';
import { ResidueQuestions } from './drain-residue.js';
import { DrainWishes } from './drain-wishes.js';
import type { DrainWish } from './drain-wishes.js';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import { isThrough } from '../model/session-registry.js';
import type { Session } from '../model/session-registry.js';

/** What drains work with. */
export interface DrainsDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly endpoints: EndpointRegistry;
  readonly coordinator: Coordinator;
  readonly policy: () => MovesConfig;
  readonly stateDirectory: string;
  /** New flows must go elsewhere from now on, or may come again. */
  readonly onChange: (endpoint: Endpoint) => void;
}

/** A session that could not move is left alone this long, then doubled up to the second value. */
const firstRetryMs = 200;
const lastRetryMs = 5000;
/** Progress is measured, and stuck sessions are looked at again, this often. */
const tickMs = 100;
/** The rate is the mean of so many ticks. */
const rateTicks = 20;

interface Running {
  readonly target: Endpoint;
  readonly residue: ResidueQuestions;
  wish: DrainWish;
  atStart: number;
  moved: number;
  ended: number;
  inMove: number;
  readonly retryAt: Map<string, Refusal & { readonly atMs: number; readonly delayMs: number }>;
  readonly recent: number[];
  hasReset: boolean;
}

/** All drains under way. */
export class Drains {
  readonly #deps: DrainsDeps;
  readonly #wishes: DrainWishes;
  readonly #running = new Map<string, Running>();
  #cancelTick: (() => void) | undefined;

  constructor(deps: DrainsDeps) {
    this.#deps = deps;
    this.#wishes = new DrainWishes(deps.stateDirectory);
  }

  /** Takes up the drains of the daemon before. */
  resumeSaved(): void {
    for (const { endpoint } of this.#wishes.load()) this.#follow(this.#deps.endpoints.ensure(endpoint));
  }

  /** Begins a drain, or gives a running one another deadline. */
  start(endpoint: Endpoint, deadlineMs: number, onDeadline: OnDrainDeadline): DrainProgress {
    const wish = this.#newWish(endpoint, deadlineMs, onDeadline);
    this.#wishes.setOperators(endpoint.name, wish);
    return this.#progress(this.#begin(endpoint, wish));
  }

  /**
   * Ends an operator's drain: the endpoint takes new flows again, unless its process is about to leave; what has moved
   * stays where it is.
   */
  stop(endpoint: Endpoint): void {
    this.#wishes.setOperators(endpoint.name, undefined);
    this.#follow(endpoint);
  }

  /** The endpoint's process says that it is about to leave, or that it stays after all. */
  leaving(endpoint: Endpoint, on: boolean, deadlineMs: number): void {
    const instance = endpoint.hello?.instance;
    if (instance === undefined) return;
    endpoint.leavingInstance = on ? instance : undefined;
    const wish = { ...this.#newWish(endpoint, deadlineMs, 'wait'), instance };
    this.#wishes.setLeaving(endpoint.name, on ? wish : undefined);
    this.#deps.counters.add(on ? 'drain_leavings_total' : 'drain_leavings_taken_back_total');
    this.#follow(endpoint);
  }

  /** That process is gone, and its wish to leave with it: the next one of its name takes new flows. */
  processEnded(endpoint: Endpoint, instance: string): void {
    if (this.#wishes.leaving(endpoint.name)?.instance !== instance) return;
    this.#wishes.setLeaving(endpoint.name, undefined);
    endpoint.leavingInstance = undefined;
    this.#follow(endpoint);
  }

  progressOf(name: string): DrainProgress | undefined {
    const running = this.#running.get(name);
    return running === undefined ? undefined : this.#progress(running);
  }

  /** Wall time by which it is to be done; undefined if it is not being drained. */
  deadlineOf(name: string): number | undefined {
    return this.#running.get(name)?.wish.deadlineAtMs;
  }

  all(): DrainProgress[] {
    return [...this.#running.values()].map((running) => this.#progress(running));
  }

  close(): void {
    this.#cancelTick?.();
    this.#running.clear();
  }

  /** A session of a draining endpoint has ended by itself. */
  sessionEnded(endpoint: Endpoint): void {
    const running = this.#running.get(endpoint.name);
    if (running !== undefined) running.ended++;
  }

  #newWish({ name }: Endpoint, deadlineMs: number, onDeadline: OnDrainDeadline): DrainWish {
    const nowMs = this.#deps.clock.wallMs();
    const startedAtMs = this.#running.get(name)?.wish.startedAtMs ?? nowMs;
    return { endpoint: name, startedAtMs, deadlineAtMs: nowMs + deadlineMs, onDeadline };
  }

  /** Does what the wishes say now. */
  #follow(endpoint: Endpoint): void {
    const wish = this.#wishes.of(endpoint.name);
    if (wish !== undefined) this.#begin(endpoint, wish);
    else if (this.#running.delete(endpoint.name)) this.#end(endpoint);
  }

  #begin(target: Endpoint, wish: DrainWish): Running {
    const running = this.#running.get(target.name) ?? newRun(wish, target, this.#deps.clock);
    Object.assign(running, { wish, hasReset: false });
    this.#running.set(target.name, running);
    target.drain = 'draining';
    target.link?.tell({ t: 'draining', on: true });
    this.#deps.logger.info({ ...wish, sessions: target.sessions.size }, 'draining');
    this.#deps.onChange(target);
    this.#tick();
    return running;
  }

  #end(endpoint: Endpoint): void {
    endpoint.drain = 'none';
    this.#deps.coordinator.dropDrain(endpoint);
    endpoint.link?.tell({ t: 'draining', on: false });
    this.#deps.logger.info({ endpoint: endpoint.name }, 'undrained');
    this.#deps.onChange(endpoint);
  }

  #tick(): void {
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    for (const running of this.#running.values()) this.#advance(running);
    if (this.#running.size === 0) return;
    this.#cancelTick = this.#deps.clock.after(tickMs, () => {
      for (const running of this.#running.values()) {
        running.recent.push(running.moved);
        if (running.recent.length > rateTicks + 1) running.recent.shift();
      }
      this.#tick();
    });
  }

  #advance(running: Running): void {
    const { target } = running;
    const state = this.#isDrained(running) ? 'drained' : 'draining';
    if (target.drain !== state) {
      target.drain = state;
      const { moved, ended } = running;
      this.#deps.logger.info({ endpoint: target.name, moved, ended }, state);
    }
    if (state === 'drained') return;
    if (this.#isPast(running) && running.wish.onDeadline === 'reset') this.#resetRest(running);
    this.#feed(running);
  }

  /** Nothing is left that anybody knows of. Only an endpoint that has told all it has can be known to have nothing. */
  #isDrained({ target, inMove, residue }: Running): boolean {
    if (target.sessions.size > 0 || inMove > 0 || target.moves.size > 0) {
      residue.restart();
      return false;
    }
    const wasDrained = target.drain === 'drained';
    // It was drained, and has gone or is coming back: it is as it was.
    if (target.link === undefined || target.liveness === 'joining') return wasDrained;
    residue.ask();
    return residue.last?.sockets === 0;
  }

  /** Keeps as many of the endpoint's sessions in moves as the policy lets run. */
  #feed(running: Running): void {
    const most = this.#deps.policy().endpointConcurrency;
    if (running.inMove >= most || running.target.link === undefined) return;
    const nowMs = this.#deps.clock.monotonicMs();
    for (const session of running.target.sessions) {
      if (running.inMove >= most) return;
      if (session.move !== undefined || session.doubt !== undefined || session.isFinishing === true) continue;
      if ((running.retryAt.get(session.id)?.atMs ?? 0) > nowMs) continue;
      this.#move(running, session);
    }
  }

  #move(running: Running, session: Session): void {
    running.inMove++;
    const isForced = this.#isPast(running) && running.wish.onDeadline === 'force';
    const from = running.target.name;
    const request = { sessionId: session.id, from, origin: 'drain', isForced } as const;
    this.#deps.coordinator.request(request, (result) => {
      running.inMove--;
      this.#note(running, session, result);
      if (
        this.#running.get(running.target.name) === running &&
        running.inMove < this.#deps.policy().endpointConcurrency / 2
      ) {
        this.#feed(running);
      }
    });
  }

  #note(running: Running, session: Session, result: MoveResult | RestitchError): void {
    const failure =
      result instanceof RestitchError
        ? { code: result.code, message: result.message }
        : result.record.outcome === 'committed'
          ? undefined
          : (result.record.failure ?? { code: 'internal', message: result.record.outcome });
    if (failure === undefined) {
      running.moved++;
      running.retryAt.delete(session.id);
      return;
    }
    // It has ended, or somebody else has moved it.
    if (session.owner !== running.target || failure.code === 'unknown_session') {
      running.retryAt.delete(session.id);
      return;
    }
    const before = running.retryAt.get(session.id)?.delayMs ?? firstRetryMs / 2;
    const delayMs = Math.min(before * 2, lastRetryMs);
    const atMs = this.#deps.clock.monotonicMs() + delayMs;
    running.retryAt.set(session.id, { atMs, delayMs, code: failure.code, reason: failure.message });
  }

  /** The operator said so: what does not move is ended, the clients get a reset. */
  #resetRest(running: Running): void {
    const { target } = running;
    if (running.hasReset || target.link === undefined) return;
    running.hasReset = true;
    // What a kernel finishes for a process that has ended is not this process's to end.
    const rest = [...target.sessions].filter((s) => s.move === undefined && s.isFinishing !== true);
    const ids = rest.map((s) => s.id);
    this.#deps.logger.warn(
      { endpoint: target.name, sessions: ids.length },
      'drain deadline passed: reset the rest',
    );
    this.#deps.counters.add('drain_resets_total', ids.length);
    for (let i = 0; i < ids.length; i += 4096) {
      target.link.request({ t: 'reset', sessionIds: ids.slice(i, i + 4096) }, () => {
        running.hasReset = false;
      });
    }
  }

  #isPast({ wish }: Running): boolean {
    return this.#deps.clock.wallMs() >= wish.deadlineAtMs;
  }

  #progress(running: Running): DrainProgress {
    const { target, recent, residue, wish } = running;
    const left = target.sessions.size;
    const first = recent[0] ?? running.moved;
    const spanMs = Math.max(recent.length - 1, 1) * tickMs;
    const movedPerSec = ((running.moved - first) * 1000) / spanMs;
    const standing = residue.isStanding ? residue.last : undefined;
    // While sessions are left it was not asked, and what it said before is not what holds it up.
    const doubt = left === 0 && target.drain !== 'drained' ? residue.doubt : undefined;
    return {
      endpoint: target.name,
      state: target.drain === 'drained' ? 'drained' : 'draining',
      isLeaving: 'instance' in wish,
      startedAtMs: wish.startedAtMs,
      atStart: running.atStart,
      moved: running.moved,
      ended: running.ended,
      left,
      closing: [...target.sessions].filter(isThrough).length,
      inMove: running.inMove,
      residue: residue.last ?? null,
      movedPerSec,
      etaMs: left === 0 ? 0 : movedPerSec > 0 ? (left / movedPerSec) * 1000 : null,
      stuck: whatIsStuck(target.sessions, (s) => running.retryAt.get(s.id), standing, doubt),
      deadlineAtMs: wish.deadlineAtMs,
      onDeadline: wish.onDeadline,
      isDeadlinePassed: this.#isPast(running),
    };
  }
}

function newRun(wish: DrainWish, target: Endpoint, clock: Clock): Running {
  return {
    wish,
    target,
    residue: new ResidueQuestions(target, clock),
    atStart: target.sessions.size,
    moved: 0,
    ended: 0,
    inMove: 0,
    retryAt: new Map(),
    recent: [],
    hasReset: false,
  };
}
