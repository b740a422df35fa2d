/**
 * The idle sweep: records without packets for long, or whose client sent RST, are asked for at their owner, and only
 * what the owner no longer has is closed. With direct return the access point never sees the server's FIN.
 */
import { formatFlow } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import type { Dataplane, FlowRecord } from '@restitch/dataplane';
import type { FlowsConfig } from './config/index.js';
import { requestSlowly } from './endpoint-link.js';
import type { Endpoint, EndpointRegistry } from './endpoint-registry.js';
import type { FlowBatch } from './flow-batch.js';
import type { SessionRegistry } from './session-registry.js';

/** What the sweep works with. */
export interface FlowSweepDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly batch: FlowBatch;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly policy: () => FlowsConfig;
}

const queryDeadlineMs = 5000;
/** The schema's bound on one query. */
const flowsPerQuery = 4096;

/** Sweeps until closed. */
export class FlowSweep {
  readonly #deps: FlowSweepDeps;
  #cancel: (() => void) | undefined;

  constructor(deps: FlowSweepDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { clock, policy, logger } = this.#deps;
    this.#cancel = clock.after(policy().sweepIntervalMs, () => {
      void this.sweep()
        .catch((error: Error) => logger.warn({ reason: error.message }, 'idle sweep failed'))
        .finally(() => {
          if (this.#cancel !== undefined) this.start();
        });
    });
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** One sweep; resolves when all owners have answered or not. */
  async sweep(): Promise<void> {
    const { clock, dataplane, endpoints, policy } = this.#deps;
    const idleNs = BigInt(policy().idleAfterMs) * 1_000_000n;
    const nowNs = clock.monotonicNs();
    const byOwner = new Map<Endpoint, FlowRecord[]>();
    for (const record of dataplane.list(nowNs - idleNs)) {
      // Records that a move left kept, and nobody came back for, count too.
      if (record.phase === 'closing' || record.phase === 'releasing') continue;
      if (!record.sawReset && nowNs - record.lastSeenNs < idleNs) continue;
      const owner = endpoints.byId(record.endpointId);
      if (owner?.link === undefined) this.#dropIfOrphan(record, owner, nowNs);
      else {
        const records = byOwner.get(owner) ?? [];
        records.push(record);
        byOwner.set(owner, records);
      }
    }
    await Promise.all([...byOwner].map(([owner, records]) => this.#ask(owner, records)));
  }

  async #ask(owner: Endpoint, records: readonly FlowRecord[]): Promise<void> {
    for (let i = 0; i < records.length; i += flowsPerQuery) {
      const chunk = records.slice(i, i + flowsPerQuery);
      if (owner.link === undefined) return;
      const flows = chunk.map((r) => r.flow);
      const data = await requestSlowly(owner.link, { t: 'query', flows }, this.#deps.clock, queryDeadlineMs);
      const owned = data['owned'];
      if (!Array.isArray(owned) || owned.length !== chunk.length) return;
      for (const [j, record] of chunk.entries()) if (owned[j] === false) this.#close(record);
    }
  }

  /** Its owner has been gone for longer than the flow may be idle: nobody can answer for it any more. */
  #dropIfOrphan(record: FlowRecord, owner: Endpoint | undefined, nowNs: bigint): void {
    const { policy } = this.#deps;
    if (owner !== undefined && owner.liveness !== 'down') return;
    if (nowNs - record.lastSeenNs >= BigInt(policy().idleAfterMs) * 1_000_000n) this.#close(record);
  }

  #close(record: FlowRecord): void {
    const { sessions, batch, counters, logger, policy } = this.#deps;
    const session = sessions.byFlow(record.flow);
    // Moved while its owner was asked: the answer was about another's time.
    if (session?.move !== undefined || (session !== undefined && session.epoch !== record.epoch)) return;
    if (session !== undefined) sessions.remove(session);
    counters.add('flows_swept_total');
    logger.debug({ flow: formatFlow(record.flow) }, 'flow swept');
    batch.push({ op: 'close', flow: record.flow, epoch: record.epoch, lingerMs: policy().closingLingerMs });
  }
}
