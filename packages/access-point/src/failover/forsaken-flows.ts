/**
 * Flows that nobody serves and nobody can go on with, though their records say that somebody does: owner, buddy and the
 * daemon died together, or owner and daemon before the first commit. The guard of the owner's host lets no reset out.
 *
 * They are what is left when all endpoints have announced, or have ended as their agents say, and all replicas were asked
 * for: in no list, and disowned by everybody, kernels included.
 *
 * What was held for a suspect is given back to a kernel that still has it: its process has ended since, and who would have
 * given it back was the daemon of then.
 */
import { formatFlow } from '@restitch/core';
import type { Clock, Logger } from '@restitch/core';
import type { Dataplane, FlowRecord } from '@restitch/dataplane';
import { askOwned } from '../ownership/ask-owned.js';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { FlowBatch } from '../model/flow-batch.js';
import type { SessionRegistry } from '../model/session-registry.js';

/** What finding them needs. */
export interface ForsakenDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly batch: FlowBatch;
  /** Its last process has ended and cannot send any more, and no other has come. */
  readonly hasEnded: (endpoint: Endpoint) => boolean;
  /** Tells the client; resolves when that is done. */
  readonly reset: (record: FlowRecord, owner: Endpoint) => Promise<void>;
}

/** Clients that are told at the same time: a record may also be of a connection that ended while no daemon was there. */
const atOnce = 256;

/** Finds them after a start. */
export class ForsakenFlows {
  readonly #deps: ForsakenDeps;
  #isLooking = false;

  constructor(deps: ForsakenDeps) {
    this.#deps = deps;
  }

  /** To be called when all that is known of sessions has been taken in. Does nothing as long as an endpoint is away. */
  async look(): Promise<void> {
    if (this.#isLooking || !this.#isEverybodyHere()) return;
    this.#isLooking = true;
    try {
      const unclaimed: FlowRecord[] = [];
      for (const { id } of this.#deps.endpoints.all()) {
        for (const records of this.#deps.dataplane.listOf(id)) {
          unclaimed.push(...records.filter((r) => this.#isUnclaimed(r)));
          // To read them all takes hundreds of milliseconds when there are many.
          await new Promise<void>((resolve) => this.#deps.clock.after(0, resolve));
        }
      }
      for (let i = 0; i < unclaimed.length; i += atOnce) await this.#settle(unclaimed.slice(i, i + atOnce));
    } catch (error) {
      // The daemon may have been closed meanwhile.
      this.#deps.logger.warn({ reason: (error as Error).message }, 'unclaimed flows are not looked at');
    } finally {
      this.#isLooking = false;
    }
  }

  #isEverybodyHere(): boolean {
    const { endpoints, hasEnded } = this.#deps;
    return endpoints.all().every((e) => e.liveness === 'healthy' || hasEnded(e));
  }

  #isUnclaimed({ flow, phase }: FlowRecord): boolean {
    if (phase === 'closing' || phase === 'releasing') return false;
    return this.#deps.sessions.byFlow(flow) === undefined;
  }

  async #settle(records: readonly FlowRecord[]): Promise<void> {
    const { endpoints, dataplane, logger, reset, hasEnded } = this.#deps;
    const flows = records.map((r) => r.flow);
    const owned = records.map(() => false);
    const byOwner = records.map(() => false);
    for (const endpoint of endpoints.all().filter((e) => !hasEnded(e))) {
      // Not known: nobody may be reset.
      const answers = await askOwned(endpoint, flows, this.#deps.clock);
      if (answers === undefined) return;
      answers.forEach((has, i) => {
        owned[i] ||= has;
        if (records[i]?.endpointId === endpoint.id) byOwner[i] = has;
      });
    }
    const isStill = (record: FlowRecord): boolean => {
      const now = dataplane.lookup(record.flow);
      const isSame = now?.epoch === record.epoch && now.endpointId === record.endpointId;
      return isSame && this.#isUnclaimed(now);
    };
    const forsaken = records.filter((record, i) => owned[i] === false && isStill(record));
    for (const [i, record] of records.entries()) {
      if (byOwner[i] !== true || record.phase !== 'hold' || !isStill(record)) continue;
      this.#deps.batch.push({ op: 'release', flow: record.flow, epoch: record.epoch });
    }
    await Promise.all(
      forsaken.map(async (record) => {
        const owner = endpoints.byId(record.endpointId);
        if (owner === undefined) return;
        logger.warn({ flow: formatFlow(record.flow), owner: owner.name }, 'nobody serves this flow');
        await reset(record, owner);
      }),
    );
  }
}
