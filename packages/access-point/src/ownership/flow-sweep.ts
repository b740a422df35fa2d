/**
 * The idle sweep: records without packets for long, or whose client sent RST, are asked for at their owner, and only
 * what the owner no longer has is closed: a closing session it has until its end, and of connections in its host's kernel
 * it knows as well. Where no owner is left the client is asked. With direct return the access point never sees the
 * server's FIN.
 */
import { formatFlow } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import type { Dataplane, FlowRecord } from '@restitch/dataplane';
import type { FlowsConfig } from '../config/index.js';
import { askOwned } from './ask-owned.js';
import type { ClientEnds } from './client-ends.js';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { FlowBatch } from '../model/flow-batch.js';
import type { SessionRegistry } from '../model/session-registry.js';

/** What the sweep works with. */
export interface FlowSweepDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly batch: FlowBatch;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly clientEnds: ClientEnds;
  readonly policy: () => FlowsConfig;
}

const queryDeadlineMs = 5000;

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
      if (owner?.link === undefined) this.#endIfOrphan(record, owner, nowNs);
      else {
        const records = byOwner.get(owner) ?? [];
        records.push(record);
        byOwner.set(owner, records);
      }
    }
    await Promise.all([...byOwner].map(([owner, records]) => this.#ask(owner, records)));
  }

  async #ask(owner: Endpoint, records: readonly FlowRecord[]): Promise<void> {
    const flows = records.map((record) => record.flow);
    const owned = await askOwned(owner, flows, this.#deps.clock, queryDeadlineMs);
    if (owned === undefined) return;
    for (const [i, record] of records.entries()) if (owned[i] === false) this.#close(record);
  }

  /** Its owner has been gone for longer than the flow may be idle: nobody can answer for it any more but the client. */
  #endIfOrphan(record: FlowRecord, owner: Endpoint | undefined, nowNs: bigint): void {
    const { policy, clientEnds } = this.#deps;
    if (owner !== undefined && owner.liveness !== 'down') return;
    if (nowNs - record.lastSeenNs < BigInt(policy().idleAfterMs) * 1_000_000n) return;
    // What a kernel delivers has its own observer.
    if (this.#deps.sessions.byFlow(record.flow)?.isFinishing === true || !this.#forget(record)) return;
    void clientEnds.end(record);
  }

  #close(record: FlowRecord): void {
    const { batch, policy } = this.#deps;
    if (!this.#forget(record)) return;
    batch.push({ op: 'close', flow: record.flow, epoch: record.epoch, lingerMs: policy().closingLingerMs });
  }

  /** False if it moved while its owner was asked: the answer was about another's time. */
  #forget(record: FlowRecord): boolean {
    const { sessions, counters, logger } = this.#deps;
    const session = sessions.byFlow(record.flow);
    if (session?.move !== undefined || (session !== undefined && session.epoch !== record.epoch))
      return false;
    if (session !== undefined) sessions.remove(session);
    counters.add('flows_swept_total');
    logger.debug({ flow: formatFlow(record.flow) }, 'flow swept');
    return true;
  }
}
