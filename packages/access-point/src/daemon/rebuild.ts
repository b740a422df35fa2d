/**
 * The start of a daemon. Three phases:
 * 1. adopted maps: unknown flows are steered at once; new maps: they are dropped (`rebuilding`), because an endpoint may
 *    own them and nobody has said so yet.
 * 2. endpoints announce; records are claimed, the highest epoch wins; copies of moves that were under way are settled.
 * 3. all known endpoints have announced, or will not, as their hosts' agents say, or the grace is over: unknown flows are
 *    steered, who has not come is gone.
 */
import type { Clock, Logger } from '@restitch/core';
import type { Dataplane } from '@restitch/dataplane';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
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
  /** Endpoints whose process has ended, fenced, since it was known to the daemon before. */
  readonly #ended = new Set<string>();

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
    const isSettled = (e: Endpoint): boolean =>
      e.liveness === 'healthy' || (e.link === undefined && this.#ended.has(e.name));
    if (this.#deps.endpoints.all().every(isSettled)) this.#finish('all known endpoints have announced');
  }

  /**
   * The agent of that host says that a process of its endpoint has ended and cannot send any more. Its clients wait: only a
   * process that has taken its place could still come, and what it serves no lease lets anybody else have.
   */
  processEnded(name: string): void {
    this.#ended.add(name);
    this.check();
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
