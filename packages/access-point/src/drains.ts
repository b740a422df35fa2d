/**
 * Drains: an endpoint gets no new flows, and its sessions are moved away until none is left.
 *
 * The wish is on disk, so a drain goes on after a restart of the daemon, and `undrain` is its whole undoing.
 */
import { join } from 'node:path';
import { RestitchError } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import { z } from 'zod';
import type { DrainConfig, MovesConfig } from './config/index.js';
import type { Coordinator, MoveResult } from './coordinator.js';
import { readFileIfThere, writeFileAtomically } from './endpoint-ids.js';
import type { Endpoint, EndpointRegistry } from './endpoint-registry.js';
import type { Session } from './session-registry.js';

/** What happens to sessions that are left when the deadline has passed. */
export type OnDrainDeadline = DrainConfig['onDeadline'];

/** Sessions that do not move, by reason code. */
export interface Stuck {
  readonly code: string;
  readonly sessions: number;
  /** One of them, with its reason in words. */
  readonly example: { readonly sessionId: string; readonly reason: string };
}

/** How far a drain is. */
export interface DrainProgress {
  readonly endpoint: string;
  readonly state: 'draining' | 'drained';
  readonly startedAtMs: number;
  readonly atStart: number;
  readonly moved: number;
  readonly ended: number;
  readonly left: number;
  readonly inMove: number;
  /** Over the last seconds. */
  readonly movedPerSec: number;
  /** At this rate; null if nothing moves. */
  readonly etaMs: number | null;
  readonly stuck: readonly Stuck[];
  readonly deadlineAtMs: number;
  readonly onDeadline: OnDrainDeadline;
  readonly isDeadlinePassed: boolean;
}

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

const savedSchema = z.array(
  z.strictObject({
    endpoint: z.string(),
    startedAtMs: z.number(),
    deadlineAtMs: z.number(),
    onDeadline: z.enum(['wait', 'force', 'reset']),
  }),
);
type Saved = z.infer<typeof savedSchema>[number];

/** A session that could not move is left alone this long, then doubled up to the second value. */
const firstRetryMs = 200;
const lastRetryMs = 5000;
/** Progress is measured, and stuck sessions are looked at again, this often. */
const tickMs = 100;
/** The rate is the mean of so many ticks. */
const rateTicks = 20;

interface Running extends Saved {
  readonly target: Endpoint;
  atStart: number;
  moved: number;
  ended: number;
  inMove: number;
  readonly retryAt: Map<string, { atMs: number; delayMs: number; code: string; reason: string }>;
  readonly recent: number[];
  hasReset: boolean;
}

/** All drains under way. */
export class Drains {
  readonly #deps: DrainsDeps;
  readonly #path: string;
  readonly #running = new Map<string, Running>();
  #cancelTick: (() => void) | undefined;

  constructor(deps: DrainsDeps) {
    this.#deps = deps;
    this.#path = join(deps.stateDirectory, 'drains.json');
  }

  /** Takes up the drains of the daemon before. */
  resumeSaved(): void {
    const text = readFileIfThere(this.#path);
    if (text === undefined) return;
    const parsed = savedSchema.safeParse(parseJson(text));
    if (!parsed.success) throw new RestitchError('config_invalid', `${this.#path} is damaged; remove it`);
    for (const saved of parsed.data) this.#run(saved);
  }

  /** Begins a drain, or gives a running one another deadline. */
  start(endpoint: Endpoint, deadlineMs: number, onDeadline: OnDrainDeadline): DrainProgress {
    const nowMs = this.#deps.clock.wallMs();
    const before = this.#running.get(endpoint.name);
    const saved = {
      endpoint: endpoint.name,
      startedAtMs: before?.startedAtMs ?? nowMs,
      deadlineAtMs: nowMs + deadlineMs,
      onDeadline,
    };
    const running = this.#run(saved);
    this.#save();
    return this.#progress(running);
  }

  /** Ends a drain: the endpoint takes new flows again; what has moved stays where it is. */
  stop(endpoint: Endpoint): void {
    this.#running.delete(endpoint.name);
    this.#save();
    endpoint.drain = 'none';
    endpoint.link?.tell({ t: 'draining', on: false });
    this.#deps.logger.info({ endpoint: endpoint.name }, 'undrained');
    this.#deps.onChange(endpoint);
  }

  progressOf(name: string): DrainProgress | undefined {
    const running = this.#running.get(name);
    return running === undefined ? undefined : this.#progress(running);
  }

  /** Wall time by which it is to be done; undefined if it is not being drained. */
  deadlineOf(name: string): number | undefined {
    return this.#running.get(name)?.deadlineAtMs;
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

  #run(saved: Saved): Running {
    const target = this.#deps.endpoints.ensure(saved.endpoint);
    const running = this.#running.get(saved.endpoint) ?? newRun(saved, target);
    Object.assign(running, saved, { hasReset: false });
    this.#running.set(saved.endpoint, running);
    target.drain = 'draining';
    target.link?.tell({ t: 'draining', on: true });
    this.#deps.logger.info({ ...saved, sessions: target.sessions.size }, 'draining');
    this.#deps.onChange(target);
    this.#tick();
    return running;
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
    const isEmpty = target.sessions.size === 0 && running.inMove === 0;
    // Only an endpoint that has told all it has can be known to have nothing.
    const isKnown =
      target.drain === 'drained' || (target.link !== undefined && target.liveness !== 'joining');
    const state = isEmpty && isKnown ? 'drained' : 'draining';
    if (target.drain !== state) {
      target.drain = state;
      this.#deps.logger.info({ endpoint: target.name, moved: running.moved, ended: running.ended }, state);
    }
    if (state === 'drained') return;
    if (this.#isPast(running) && running.onDeadline === 'reset') this.#resetRest(running);
    this.#feed(running);
  }

  /** Keeps as many of the endpoint's sessions in moves as the policy lets run. */
  #feed(running: Running): void {
    const most = this.#deps.policy().endpointConcurrency;
    if (running.inMove >= most || running.target.link === undefined) return;
    const nowMs = this.#deps.clock.monotonicMs();
    for (const session of running.target.sessions) {
      if (running.inMove >= most) return;
      if (session.move !== undefined || session.doubt !== undefined) continue;
      if ((running.retryAt.get(session.id)?.atMs ?? 0) > nowMs) continue;
      this.#move(running, session);
    }
  }

  #move(running: Running, session: Session): void {
    running.inMove++;
    const isForced = this.#isPast(running) && running.onDeadline === 'force';
    this.#deps.coordinator.request({ sessionId: session.id, origin: 'drain', isForced }, (result) => {
      running.inMove--;
      this.#note(running, session, result);
      if (
        this.#running.get(running.endpoint) === running &&
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
    if (failure.code === 'unknown_session') {
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
    if (running.hasReset || running.target.link === undefined) return;
    running.hasReset = true;
    const ids = [...running.target.sessions].filter((s) => s.move === undefined).map((s) => s.id);
    this.#deps.logger.warn(
      { endpoint: running.endpoint, sessions: ids.length },
      'drain deadline passed: reset the rest',
    );
    this.#deps.counters.add('drain_resets_total', ids.length);
    for (let i = 0; i < ids.length; i += 4096) {
      running.target.link.request({ t: 'reset', sessionIds: ids.slice(i, i + 4096) }, () => {
        running.hasReset = false;
      });
    }
  }

  #isPast(running: Running): boolean {
    return this.#deps.clock.wallMs() >= running.deadlineAtMs;
  }

  #progress(running: Running): DrainProgress {
    const { target, recent } = running;
    const left = target.sessions.size;
    const first = recent[0] ?? running.moved;
    const spanMs = Math.max(recent.length - 1, 1) * tickMs;
    const movedPerSec = ((running.moved - first) * 1000) / spanMs;
    return {
      endpoint: running.endpoint,
      state: target.drain === 'drained' ? 'drained' : 'draining',
      startedAtMs: running.startedAtMs,
      atStart: running.atStart,
      moved: running.moved,
      ended: running.ended,
      left,
      inMove: running.inMove,
      movedPerSec,
      etaMs: left === 0 ? 0 : movedPerSec > 0 ? (left / movedPerSec) * 1000 : null,
      stuck: stuckByReason(running),
      deadlineAtMs: running.deadlineAtMs,
      onDeadline: running.onDeadline,
      isDeadlinePassed: this.#isPast(running),
    };
  }

  #save(): void {
    const saved: Saved[] = [...this.#running.values()].map((r) => ({
      endpoint: r.endpoint,
      startedAtMs: r.startedAtMs,
      deadlineAtMs: r.deadlineAtMs,
      onDeadline: r.onDeadline,
    }));
    writeFileAtomically(this.#path, JSON.stringify(saved));
  }
}

function newRun(saved: Saved, target: Endpoint): Running {
  const atStart = target.sessions.size;
  return {
    ...saved,
    target,
    atStart,
    moved: 0,
    ended: 0,
    inMove: 0,
    retryAt: new Map(),
    recent: [],
    hasReset: false,
  };
}

function stuckByReason(running: Running): Stuck[] {
  const byCode = new Map<string, Stuck>();
  const note = (code: string, sessionId: string, reason: string): void => {
    const before = byCode.get(code);
    if (before === undefined) byCode.set(code, { code, sessions: 1, example: { sessionId, reason } });
    else byCode.set(code, { ...before, sessions: before.sessions + 1 });
  };
  for (const session of running.target.sessions) {
    const retry = running.retryAt.get(session.id);
    if (session.doubt !== undefined) note('session_moving', session.id, session.doubt);
    else if (retry !== undefined) note(retry.code, session.id, retry.reason);
  }
  return [...byCode.values()].sort((a, b) => b.sessions - a.sessions);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
