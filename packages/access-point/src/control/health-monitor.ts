/**
 * Judges endpoints by the silence on their control connections, and tells the data plane who takes new flows.
 *
 * One timer looks at all endpoints: a timer for each would be reset by every message.
 */
import { connect } from 'node:net';
import { RestitchError } from '@restitch/core';
import type { Clock, Counters, SocketAddress } from '@restitch/core';
import type { Dataplane, VirtualService } from '@restitch/dataplane';
import type { HealthConfig, ListenerConfig } from '../config/index.js';
import type { Endpoint, EndpointRegistry, Liveness } from '../model/endpoint-registry.js';

/** What the monitor works with. */
export interface HealthMonitorDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly endpoints: EndpointRegistry;
  readonly dataplane: Dataplane;
  readonly policy: () => HealthConfig;
  readonly services: () => readonly ListenerConfig[];
  readonly setLiveness: (endpoint: Endpoint, liveness: Liveness) => void;
  /** An endpoint is down: what waits for its word is judged again. */
  readonly onDown: () => void;
  /** True for one whose process is known to be dead, whatever its connection says yet. */
  readonly isDead?: (endpoint: Endpoint) => boolean;
  /** Tries a TCP connect; resolves to whether it was accepted in time. */
  readonly probe?: (address: SocketAddress, timeoutMs: number) => Promise<boolean>;
}

/** Enough for what has come in meanwhile. */
const publishPauseMs = 2;

/** Watches the endpoints until closed. */
export class HealthMonitor {
  readonly #deps: HealthMonitorDeps;
  #cancel: (() => void) | undefined;
  #lastProbeMs = 0;
  /** What the data plane has, and what it is to have. */
  #published: VirtualService[] | undefined;
  #wanted: VirtualService[] = [];
  #cancelPublish: (() => void) | undefined;
  #afterPublish: Array<() => void> = [];

  constructor(deps: HealthMonitorDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#tick();
  }

  close(): void {
    this.#cancel?.();
    this.#cancelPublish?.();
  }

  /** Gives the data plane the endpoints that take new flows; does nothing if they are as before. */
  publishServices(): void {
    this.#wanted = this.#deps.services().map((service) => this.#backendsOf(service));
    if (this.#cancelPublish === undefined) this.#publishNext();
  }

  /** Publishes, and calls `done` when the data plane has what is wanted. */
  afterPublish(done: () => void): void {
    this.#afterPublish.push(done);
    this.publishServices();
  }

  /**
   * One service a turn: a table costs milliseconds to build, a service's first one a wait for the kernel's readers on top
   * (10 ms), and moves and take-overs between hold and switch must not wait for all of them.
   */
  #publishNext(): void {
    this.#cancelPublish = undefined;
    const wanted = this.#wanted;
    const before = this.#published;
    const isSameSet =
      before?.length === wanted.length &&
      wanted.every((w, i) => w.address === before[i]?.address && w.port === before[i]?.port);
    const at = isSameSet ? wanted.findIndex((w, i) => !isSame(w, before[i])) : 0;
    if (at < 0 || (isSameSet && wanted.length === 0)) {
      this.#tellPublished();
      return;
    }
    const next = isSameSet ? before.map((p, i) => (i === at ? (wanted[i] ?? p) : p)) : wanted;
    this.#published = next;
    this.#deps.dataplane.setServices(next);
    if (wanted.every((w, i) => isSame(w, next[i]))) {
      this.#tellPublished();
      return;
    }
    this.#cancelPublish = this.#deps.clock.after(publishPauseMs, () => this.#publishNext());
  }

  #tellPublished(): void {
    for (const done of this.#afterPublish.splice(0)) done();
  }

  #backendsOf(service: ListenerConfig): VirtualService {
    const offering = this.#deps.endpoints
      .all()
      .filter((e) => e.drain === 'none' && e.listenerFor(service.vip) !== undefined)
      .map((e) => ({ endpoint: e, weight: service.weights[e.name] ?? e.weight }))
      .filter((b) => b.weight > 0);
    const isDead = (b: { endpoint: Endpoint }): boolean => this.#deps.isDead?.(b.endpoint) === true;
    const healthy = offering.filter((b) => b.endpoint.liveness === 'healthy' && !isDead(b));
    // An access point that has lost all control connections is likelier cut off than alone: it goes on as before.
    const isThere = ({ endpoint: { liveness } }: { endpoint: Endpoint }): boolean =>
      liveness === 'healthy' || liveness === 'suspect';
    const suspect = offering.filter(isThere);
    const living = suspect.filter((b) => !isDead(b));
    const chosen = healthy.length > 0 ? healthy : living.length > 0 ? living : suspect;
    const backends = chosen
      .map((b) => ({ endpointId: b.endpoint.id, weight: b.weight }))
      .sort((a, b) => a.endpointId - b.endpointId);
    return { address: service.vip.address, port: service.vip.port, backends };
  }

  #tick(): void {
    const { clock, endpoints, policy } = this.#deps;
    const { heartbeatMs } = policy();
    const nowMs = clock.monotonicMs();
    for (const endpoint of endpoints.all()) this.#judge(endpoint, nowMs);
    this.#probeAll(nowMs);
    this.#cancel = clock.after(heartbeatMs, () => this.#tick());
  }

  #judge(endpoint: Endpoint, nowMs: number): void {
    const { suspectAfterMs, deadAfterMs } = this.#deps.policy();
    if (endpoint.liveness === 'down') return;
    const silentMs = nowMs - (endpoint.link?.lastHeardMs ?? endpoint.livenessSinceMs);
    if (silentMs >= deadAfterMs) this.#declareDown(endpoint);
    else if (silentMs >= suspectAfterMs && endpoint.liveness === 'healthy') {
      this.#deps.setLiveness(endpoint, 'suspect');
    }
  }

  #declareDown(endpoint: Endpoint): void {
    const link = endpoint.link;
    link?.close(new RestitchError('deadline_exceeded', `${endpoint.name} has been silent for too long`));
    this.#deps.setLiveness(endpoint, 'down');
    this.#deps.counters.add('endpoints_down_total');
    this.#deps.onDown();
  }

  #probeAll(nowMs: number): void {
    const { probe = probeTcp, policy, endpoints } = this.#deps;
    const { tcpProbe } = policy();
    if (tcpProbe === undefined || nowMs - this.#lastProbeMs < tcpProbe.intervalMs) return;
    this.#lastProbeMs = nowMs;
    for (const endpoint of endpoints.all()) {
      const address = endpoint.hello?.stateAddress;
      const isToBeProbed = endpoint.liveness === 'healthy' || endpoint.isProbeFailing;
      if (address === undefined || endpoint.link === undefined || !isToBeProbed) continue;
      void probe(address, tcpProbe.timeoutMs).then((isAccepted) => this.#noteProbe(endpoint, isAccepted));
    }
  }

  /** An endpoint that heartbeats and cannot be reached is suspect until it can; its next heartbeat says healthy then. */
  #noteProbe(endpoint: Endpoint, isAccepted: boolean): void {
    endpoint.isProbeFailing = !isAccepted;
    if (isAccepted || endpoint.liveness !== 'healthy') return;
    this.#deps.counters.add('endpoint_probes_failed_total');
    this.#deps.setLiveness(endpoint, 'suspect');
  }
}

function isSame(a: VirtualService, b: VirtualService | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** True if the address accepts a TCP connection within `timeoutMs`. */
export function probeTcp(address: SocketAddress, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address.address, port: address.port, timeout: timeoutMs });
    const end = (isAccepted: boolean): void => {
      socket.destroy();
      resolve(isAccepted);
    };
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(false));
    socket.once('error', () => end(false));
  });
}
