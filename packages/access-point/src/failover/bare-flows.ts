/**
 * Records of a dead endpoint that no session belongs to: connections in an accept queue, or whose handshake was just over.
 * Nothing of them was acknowledged, nobody has a replica, and their clients would wait for as long as they have patience.
 *
 * They are listed when the death is declared. What the next process of that name accepts meanwhile it answers for itself.
 */
import { formatFlow } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import type { Dataplane, FlowRecord } from '@restitch/dataplane';
import { askOwned } from '../ownership/ask-owned.js';
import type { ClientEnds } from '../ownership/client-ends.js';
import type { Endpoint } from '../model/endpoint-registry.js';
import type { SessionRegistry } from '../model/session-registry.js';

/** What ending them needs. */
export interface BareFlowsDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly sessions: SessionRegistry;
  readonly clientEnds: ClientEnds;
}

const tries = 3;
/** Time for the next process's connection, and between two questions. */
const pauseMs = 20;

/** Flows that a log line names. */
const mostNamed = 8;

/** See the head of the file. */
export class BareFlows {
  readonly #deps: BareFlowsDeps;

  constructor(deps: BareFlowsDeps) {
    this.#deps = deps;
  }

  /** Those there are; reads a portion in each turn of the event loop, from the next one on. Never rejects. */
  async list(endpoint: Endpoint): Promise<readonly FlowRecord[]> {
    const { dataplane, logger } = this.#deps;
    const bare: FlowRecord[] = [];
    try {
      await this.#pause(0);
      for (const records of dataplane.listOf(endpoint.id)) {
        bare.push(...records.filter((record) => this.#isBare(record)));
        await this.#pause(0);
      }
    } catch (error) {
      logger.warn({ endpoint: endpoint.name, reason: (error as Error).message }, 'its flows are not listed');
    }
    return bare;
  }

  /**
   * Tells their clients, unless another process of that name is there and says that its kernel has the connection.
   * Resolves with how many are being told.
   */
  async end(bare: readonly FlowRecord[], endpoint: Endpoint, deadInstance: string): Promise<number> {
    if (bare.length === 0) return 0;
    const { counters, logger, clientEnds } = this.#deps;
    const owned = await this.#askSuccessor(bare, endpoint, deadInstance);
    const left = bare.filter((record, i) => owned[i] === false && this.#isStillBare(record));
    counters.add('protection_bare_flows_total', left.length);
    counters.add('protection_bare_flows_spared_total', bare.length - left.length);
    if (left.length === 0) return 0;
    logger.warn(
      {
        endpoint: endpoint.name,
        flows: left.length,
        first: left.slice(0, mostNamed).map((r) => formatFlow(r.flow)),
      },
      'connections that nobody had accepted are reset',
    );
    for (const record of left) void clientEnds.end(record);
    return left.length;
  }

  /** True where it has the connection, or where nobody can say: the idle sweep asks again. */
  async #askSuccessor(
    bare: readonly FlowRecord[],
    endpoint: Endpoint,
    deadInstance: string,
  ): Promise<readonly boolean[]> {
    const flows = bare.map((record) => record.flow);
    for (let i = 0; i < tries; i++) {
      const hasSuccessor = endpoint.hello !== undefined && endpoint.hello.instance !== deadInstance;
      if (!hasSuccessor) return flows.map(() => false);
      const owned = await askOwned(endpoint, flows, this.#deps.clock);
      if (owned !== undefined) return owned;
      await this.#pause(pauseMs);
    }
    return flows.map(() => true);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#deps.clock.after(ms, resolve));
  }

  #isBare({ flow, phase }: FlowRecord): boolean {
    const { sessions, clientEnds } = this.#deps;
    // A session that nobody has is forgotten before its client has been told.
    return phase !== 'closing' && sessions.byFlow(flow) === undefined && !clientEnds.isEnding(flow);
  }

  /** A session may have been found for it meanwhile, and its client may have come again from the same port. */
  #isStillBare({ flow, endpointId, epoch }: FlowRecord): boolean {
    const now = this.#deps.dataplane.lookup(flow);
    return now !== undefined && now.endpointId === endpointId && now.epoch === epoch && this.#isBare(now);
  }
}
