/** The endpoints, by name and by the number the maps know them under. */
import { RestitchError } from '@restitch/core';
import type { FromEndpoint } from '@restitch/wire/internal';
import type { EndpointIds } from './endpoint-ids.js';
import type { EndpointLink } from './endpoint-link.js';
import type { MoveUnderWay } from './move-under-way.js';
import type { Session } from './session-registry.js';

/** What an endpoint said of itself. */
export type Hello = Extract<FromEndpoint, { t: 'hello' }>;

/**
 * What the control connection says of an endpoint, and what follows for new flows; existing flows stay in every state.
 * joining: connected, its list of sessions is not complete; no new flows.
 * healthy: new flows.
 * suspect: connection lost or silent; no new flows while any endpoint of the service is healthy.
 * down: silent for long, or another process came in its place; no new flows.
 */
export type Liveness = 'joining' | 'healthy' | 'suspect' | 'down';
/**
 * What the operator, or the process itself, wants. draining: no new flows, sessions are moved away. drained: none is left,
 * and its host's sockets owe nobody anything.
 */
export type DrainState = 'none' | 'draining' | 'drained';

/** One endpoint. Written by the daemon's modules, read by all. */
export class Endpoint {
  readonly name: string;
  readonly id: number;
  weight: number;
  link: EndpointLink | undefined;
  hello: Hello | undefined;
  liveness: Liveness = 'down';
  drain: DrainState = 'none';
  /** The process that has said it is about to leave. */
  leavingInstance: string | undefined;
  /** Its last process left as it had said: no failure. */
  hasLeft = false;
  /** CLOCK_MONOTONIC milliseconds since when `liveness` is what it is. */
  livenessSinceMs = 0;
  /** The last TCP probe was not accepted: heartbeats alone do not make it healthy. */
  isProbeFailing = false;
  eventLoopDelayMs = 0;
  /** Figures of the endpoint's own, from its last heartbeat. */
  counters: Readonly<Record<string, number>> = {};
  /** Places taken by moves that have not switched yet. */
  reserved = 0;
  readonly sessions = new Set<Session>();
  /** Moves under way with it as source or target. */
  readonly moves = new Set<MoveUnderWay>();

  constructor(name: string, id: number, weight: number) {
    this.name = name;
    this.id = id;
    this.weight = weight;
  }

  /** True if it may be given sessions. */
  get isAccepting(): boolean {
    return this.liveness === 'healthy' && this.drain === 'none' && this.link !== undefined;
  }

  /** The one word for people: liveness unless it is healthy and being drained. */
  get state(): Liveness | Exclude<DrainState, 'none'> {
    return this.liveness === 'healthy' && this.drain !== 'none' ? this.drain : this.liveness;
  }

  /** The listener that serves a VIP there, by its name; undefined if it has none. */
  listenerFor(vip: { address: string; port: number }): string | undefined {
    return this.hello?.listeners.find((l) => l.vip.port === vip.port && l.vip.address === vip.address)?.name;
  }
}

/** All endpoints ever seen by this daemon or named in its configuration. */
export class EndpointRegistry {
  readonly #byName = new Map<string, Endpoint>();
  readonly #byId = new Map<number, Endpoint>();
  readonly #ids: EndpointIds;
  readonly #weightOf: (name: string) => number;

  constructor(ids: EndpointIds, weightOf: (name: string) => number) {
    this.#ids = ids;
    this.#weightOf = weightOf;
  }

  /** Names that a daemon of the past gave a number. */
  namesOfThePast(): string[] {
    return this.#ids.names();
  }

  /** Takes all weights from the configuration again. */
  refreshWeights(): void {
    for (const endpoint of this.#byName.values()) endpoint.weight = this.#weightOf(endpoint.name);
  }

  byName(name: string): Endpoint | undefined {
    return this.#byName.get(name);
  }

  byId(id: number): Endpoint | undefined {
    return this.#byId.get(id);
  }

  all(): Endpoint[] {
    return [...this.#byName.values()];
  }

  /** The endpoint of that name; made if there is none. */
  ensure(name: string): Endpoint {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const endpoint = new Endpoint(name, this.#ids.idOf(name), this.#weightOf(name));
    this.#byName.set(name, endpoint);
    this.#byId.set(endpoint.id, endpoint);
    return endpoint;
  }

  /** Throws `unknown_endpoint`. */
  require(name: string): Endpoint {
    const endpoint = this.#byName.get(name);
    if (endpoint !== undefined) return endpoint;
    const known = [...this.#byName.keys()].join(', ');
    throw new RestitchError(
      'unknown_endpoint',
      `no endpoint is called ${name}; there are: ${known || 'none'}`,
    );
  }
}
