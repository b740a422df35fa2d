/**
 * A half-open flow sticks to the host its SYN went to, so that a repeated SYN reaches the one that has answered. Death is
 * the one thing that ends this: suspect and drained endpoints keep their half-open flows. The order matters: first no
 * service may name the dead one any more, or the next SYN makes the entry anew.
 */
import type { Counters, Logger } from '@restitch/core';
import type { Dataplane } from '@restitch/dataplane';
import type { Endpoint } from '../model/endpoint-registry.js';

/** What forgetting needs. */
export interface DeadAffinityDeps {
  readonly counters: Counters;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  /** Calls back when the data plane's services are those that are wanted now. */
  readonly afterPublish: (done: () => void) => void;
  /** True as long as no process of it serves. */
  readonly isDead: (endpoint: Endpoint) => boolean;
}

/** Forgets the half-open flows of `endpoint` as soon as that lasts; does nothing if it is back by then. */
export function forgetAffinityOf(endpoint: Endpoint, deps: DeadAffinityDeps): void {
  if (!deps.isDead(endpoint)) return;
  deps.afterPublish(() => {
    if (!deps.isDead(endpoint)) return;
    const forgotten = deps.dataplane.forgetHalfOpen(endpoint.id);
    if (forgotten === 0) return;
    deps.counters.add('half_open_forgotten_total', forgotten);
    deps.logger.info(
      { endpoint: endpoint.name, forgotten },
      'half-open flows of a dead endpoint are forgotten',
    );
  });
}
