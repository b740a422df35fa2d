/** What follows where an endpoint changes: services without the dead, moves to the living, half-open flows forgotten. */
import type { Clock, Counters, Logger } from '@restitch/core';
import type { Dataplane } from '@restitch/dataplane';
import type { Collectors } from '../analytics/collectors.js';
import type { HealthMonitor } from '../control/health-monitor.js';
import type { Protection } from '../failover/protection.js';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { Coordinator } from '../moves/coordinator.js';
import type { Drains } from '../moves/drains.js';
import { forgetAffinityOf } from '../ownership/dead-affinity.js';
import type { Rebuild } from './rebuild.js';

/** Take-overs go first: milliseconds count there, the sweep may take a hundred, and a SYN is repeated after a second. */
const affinityPauseMs = 100;

/** Whom it concerns. */
export interface EndpointChangesDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly endpoints: EndpointRegistry;
  readonly coordinator: Coordinator;
  readonly drains: Drains;
  readonly protection: Protection;
  readonly collectors: Collectors;
  readonly health: HealthMonitor;
  readonly rebuild: Rebuild;
}

/** Carries each change to those whom it concerns, in the order that matters. */
export class EndpointChanges {
  readonly #deps: EndpointChangesDeps;
  #isClosed = false;

  constructor(deps: EndpointChangesDeps) {
    this.#deps = deps;
  }

  /** It is to be drained, or no longer. */
  drain(endpoint: Endpoint): void {
    this.#deps.health.publishServices();
    this.#deps.collectors.notices.drainChanged(endpoint);
  }

  /** It is healthy, suspect or down. */
  liveness(endpoint: Endpoint): void {
    const { health, rebuild, coordinator } = this.#deps;
    health.publishServices();
    rebuild.check();
    if (endpoint.liveness === 'down') this.#down(endpoint);
    if (endpoint.liveness === 'healthy') coordinator.pump();
  }

  /** A process of it was declared dead, and its sessions may be taken over. */
  death(endpoint: Endpoint, instance: string): void {
    const { clock, drains, health } = this.#deps;
    drains.processEnded(endpoint, instance);
    // In a turn of its own: it may be a successor's hello that told of the death, and is being read.
    queueMicrotask(() => {
      if (!this.#isClosed) health.publishServices();
    });
    clock.after(affinityPauseMs, () => this.#forgetAffinity(endpoint));
  }

  /** The start of the daemon is over: who has not come is gone. */
  startOver(): void {
    for (const endpoint of this.#deps.endpoints.all()) this.#forgetAffinity(endpoint);
  }

  close(): void {
    this.#isClosed = true;
  }

  #down(endpoint: Endpoint): void {
    const { clock, collectors, drains } = this.#deps;
    // Who left as it had said has not failed.
    if (!endpoint.hasLeft)
      collectors.inputs.push({ kind: 'failed', atMs: clock.monotonicMs(), endpoint: endpoint.name });
    if (endpoint.leavingInstance !== undefined) drains.processEnded(endpoint, endpoint.leavingInstance);
    this.#forgetAffinity(endpoint);
  }

  #forgetAffinity(endpoint: Endpoint): void {
    if (this.#isClosed) return;
    const { health, protection } = this.#deps;
    forgetAffinityOf(endpoint, {
      ...this.#deps,
      afterPublish: (done) => health.afterPublish(done),
      isDead: ({ liveness }) => liveness === 'down' || protection.isDead(endpoint),
    });
  }
}
