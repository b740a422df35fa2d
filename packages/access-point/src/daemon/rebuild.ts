/**
 * The start of a daemon. Three phases:
 * 1. adopted maps: unknown flows are steered at once; new maps: they are dropped (`rebuilding`), because an endpoint may
 *    own them and nobody has said so yet.
 * 2. endpoints announce; records are claimed, the highest epoch wins; copies of moves that were under way are settled.
 * 3. all known endpoints have announced, or the grace is over: unknown flows are steered, who has not come is gone.
 */
import type { Clock, Logger } from '@restitch/core';
import type { Dataplane } from '@restitch/dataplane';
import type { EndpointRegistry } from '../model/endpoint-registry.js';
import type { Protection } from '../failover/protection.js';
import type { Reconciler } from '../ownership/reconciler.js';

/** What the start works with. */
export interface RebuildDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly endpoints: EndpointRegistry;
  readonly reconciler: Reconciler;
  readonly protection: Protection;
  readonly graceMs: number;
  /** The start is over: who has not come counts as gone. */
  readonly onOver: () => void;
}

/** The phases of one start. */
export class Rebuild {
  readonly #deps: RebuildDeps;
  #isStarting = false;
  #isRebuilding = false;
  #startedAtMs = 0;
  #cancel: (() => void) | undefined;

  constructor(deps: RebuildDeps) {
    this.#deps = deps;
  }

  /** True while unknown flows are dropped. */
  get isRebuilding(): boolean {
    return this.#isRebuilding;
  }

  start(): void {
    const { dataplane, clock, logger, endpoints, graceMs } = this.#deps;
    this.#isStarting = true;
    this.#startedAtMs = clock.monotonicMs();
    this.#isRebuilding = !dataplane.isAdopted;
    dataplane.setRebuilding(this.#isRebuilding);
    const expected = endpoints.all().map((e) => e.name);
    logger.info({ isRebuilding: this.#isRebuilding, expected, graceMs }, 'waiting for endpoints to announce');
    this.#cancel = clock.after(graceMs, () => this.#finish('grace is over'));
    this.check();
  }

  /** An endpoint's liveness changed. */
  check(): void {
    if (!this.#isStarting) return;
    const isComplete = this.#deps.endpoints.all().every((e) => e.liveness === 'healthy');
    if (isComplete) this.#finish('all known endpoints have announced');
  }

  close(): void {
    this.#cancel?.();
  }

  #finish(why: string): void {
    this.#cancel?.();
    if (!this.#isStarting) return;
    this.#isStarting = false;
    const { reconciler, protection, dataplane, logger } = this.#deps;
    reconciler.endOfStart();
    // Before unknown flows are steered: those that a dead endpoint had are claimed for it first.
    protection
      .recover(this.#startedAtMs, this.#isRebuilding)
      .catch((error: Error) => logger.error({ reason: error.message }, 'sessions of the dead are not found'))
      .finally(() => {
        this.#isRebuilding = false;
        dataplane.setRebuilding(false);
        logger.info({ why }, 'start is over');
        this.#deps.onOver();
      });
  }
}
