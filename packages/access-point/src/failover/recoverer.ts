/**
 * Takes in sessions of the dead that nobody has announced and only their buddies know: after the death of a daemon, and
 * after that of an endpoint whose last openings were not told. What is to be done with one replica is in recovery.ts.
 */
import type { Clock, Counters } from '@restitch/core';
import type { Dataplane } from '@restitch/dataplane';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { FlowBatch } from '../model/flow-batch.js';
import { askForAllReplicas, gatherReplicas, judgeReplica } from './recovery.js';
import type { KnownReplica, RecoveryVerdict } from './recovery.js';
import { makeSession } from '../model/session-registry.js';
import type { Session, SessionRegistry } from '../model/session-registry.js';
import { holdDeadlineNs } from './suspect-flows.js';
import type { Replica } from './take-overs.js';

/** What it works with. */
export interface RecovererDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly dataplane: Dataplane;
  readonly batch: FlowBatch;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
}

/** A session that was taken in; with `letServe` its record names the buddy already. */
export interface Adopted {
  readonly session: Session;
  readonly replica: KnownReplica;
  readonly owner: Endpoint;
  readonly letServe: boolean;
}

/** See the head of the file. */
export class Recoverer {
  readonly #deps: RecovererDeps;

  constructor(deps: RecovererDeps) {
    this.#deps = deps;
  }

  /** After a daemon's death: all that the members keep of owners that do not speak; `isWhole`: each has answered. */
  async adoptAll(
    members: readonly Endpoint[],
    areRecordsNew: boolean,
  ): Promise<{ readonly adopted: readonly Adopted[]; readonly isWhole: boolean }> {
    const { clock, endpoints, batch } = this.#deps;
    const { newest, isWhole } = await gatherReplicas(members, clock);
    const adopted: Adopted[] = [];
    for (const replica of newest.values()) {
      const owner = endpoints.ensure(replica.owner);
      const verdict = this.#judge(replica, owner, owner.hello?.instance, areRecordsNew);
      if (verdict !== 'leave') adopted.push(this.#adopt(replica, owner, verdict));
    }
    batch.flush();
    return { adopted, isWhole };
  }

  /**
   * After an endpoint's death: sessions that replicas tell of and nobody else, because the word of their opening died with
   * the process. Those whose record still names the dead endpoint are taken in, and are to be given away like the others.
   */
  async adoptUntold(
    replicas: ReadonlyMap<string, Replica>,
    dead: Endpoint,
    deadInstance: string,
  ): Promise<readonly Session[]> {
    const { sessions, counters } = this.#deps;
    const untold = [...replicas.values()].filter(({ report }) => sessions.byId(report.id) === undefined);
    const current = dead.hello?.instance;
    const speaker = current === deadInstance ? undefined : current;
    const found: Session[] = [];
    for (const replica of await this.#withFlows(untold, dead)) {
      if (this.#judge(replica, dead, speaker, false) !== 'give-away') continue;
      found.push(this.#adopt(replica, dead, 'give-away').session);
    }
    counters.add('protection_sessions_untold_total', found.length);
    return found;
  }

  /** An answer about one owner says less than one about all: who keeps something unknown is asked for all. */
  async #withFlows(untold: readonly Replica[], dead: Endpoint): Promise<readonly KnownReplica[]> {
    const buddies = new Set(untold.map(({ buddy }) => buddy));
    const known = await Promise.all(
      [...buddies].map(async (buddy) => {
        const wanted = new Set(untold.filter((r) => r.buddy === buddy).map(({ report }) => report.id));
        const { all } = await askForAllReplicas(buddy, this.#deps.clock);
        return all.filter(({ id, owner }) => owner === dead.name && wanted.has(id));
      }),
    );
    return known.flat();
  }

  #judge(
    replica: KnownReplica,
    owner: Endpoint,
    ownerInstance: string | undefined,
    areRecordsNew: boolean,
  ): RecoveryVerdict {
    const { sessions, dataplane } = this.#deps;
    const { id, flow, buddy } = replica;
    return judgeReplica(replica, {
      isServed: sessions.byId(id) !== undefined || sessions.byFlow(flow) !== undefined,
      ownerInstance,
      ownerId: owner.id,
      buddyId: buddy.id,
      record: dataplane.lookup(flow),
      areRecordsNew,
    });
  }

  /** The registry learns of a session that nobody announces, and its packets are kept. */
  #adopt(replica: KnownReplica, dead: Endpoint, verdict: Exclude<RecoveryVerdict, 'leave'>): Adopted {
    const { sessions, dataplane, batch, clock } = this.#deps;
    const { id, flow, openedAtMs, buddy } = replica;
    const letServe = verdict === 'let-serve';
    const epoch = dataplane.lookup(flow)?.epoch ?? replica.epoch;
    const owner = letServe ? buddy : dead;
    const report = { id, flow, epoch, phase: 'live' as const, openedAtMs };
    const session = makeSession(owner, report, clock.monotonicMs());
    session.isOrphan = true;
    sessions.add(session);
    if (verdict === 'claim-and-give-away') batch.push({ op: 'claim', flow, endpointId: owner.id, epoch });
    batch.push({ op: 'hold', flow, epoch, deadlineNs: holdDeadlineNs(clock) });
    return { session, replica, owner: dead, letServe };
  }
}
