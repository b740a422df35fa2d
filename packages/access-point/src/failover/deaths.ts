/**
 * What a dead endpoint process leaves, brought to its end:
 *
 * - sessions are given to their buddies (take-overs.ts), also those whose opening died untold (recoverer.ts);
 * - closing sessions that a kernel can deliver are left to it (finishing.ts);
 * - sessions that nobody has, and connections that nobody had accepted, are reset (lost-sessions.ts, bare-flows.ts).
 *
 * At the moment of death is written down who is responsible for what; it is carried out when the lease has ended.
 */
import type { Clock, Counters, Logger } from '@restitch/core';
import type { DeathReason } from '@restitch/guard/internal';
import type { Dataplane, FlowRecord } from '@restitch/dataplane';
import { BareFlows } from './bare-flows.js';
import type { ClientEnds } from '../ownership/client-ends.js';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { EventFeed } from '../model/event-feed.js';
import { Finishing } from './finishing.js';
import type { FlowBatch } from '../model/flow-batch.js';
import { ForsakenFlows } from './forsaken-flows.js';
import type { HostAgents } from './host-agents.js';
import { LostSessions } from './lost-sessions.js';
import type { Loss } from './lost-sessions.js';
import { Recoverer } from './recoverer.js';
import type { Adopted } from './recoverer.js';
import type { Session, SessionRegistry } from '../model/session-registry.js';
import type { TakeOverHistory } from '../model/take-over-history.js';
import { TakeOverRecords } from './take-over-records.js';
import { TakeOvers } from './take-overs.js';

/** What it works with. */
export interface DeathsDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly batch: FlowBatch;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly dataplane: Dataplane;
  readonly feed: EventFeed;
  readonly takeOverHistory: TakeOverHistory;
  readonly clientEnds: ClientEnds;
  readonly lingerMs: () => number;
  readonly newId: () => string;
  readonly agents: HostAgents;
  /** How long an agent may be silent. */
  readonly detectionMs: () => number;
  /** Endpoints that may keep replicas: those that are not dead. */
  readonly members: () => Endpoint[];
  /** Its last process has ended, fenced, and no other has come. */
  readonly hasEnded: (endpoint: Endpoint) => boolean;
  /** True once the sessions of that process are being given away, or have been. */
  readonly hasDied: (instance: string) => boolean;
}

/** A process of an endpoint that is dead. */
export interface DeadProcess {
  readonly endpoint: Endpoint;
  readonly instance: string;
  /** It had said that it would leave: no crash. */
  readonly isLeaving: boolean;
  /** Another process is about to take its name. */
  readonly isReplaced: boolean;
}

/** What it left. */
export interface Estate {
  readonly dead: DeadProcess;
  /** To be given away. */
  readonly orphans: Set<Session>;
  /** Records that no session belonged to; being read. */
  readonly bare: Promise<readonly FlowRecord[]>;
  /** How many sessions were left to its host's kernel. */
  readonly finishing: number;
}

/** See the head of the file. */
export class Deaths {
  readonly #deps: DeathsDeps;
  readonly records: TakeOverRecords;
  readonly finishing: Finishing;
  readonly forsaken: ForsakenFlows;
  readonly #lost: LostSessions;
  readonly #takeOvers: TakeOvers;
  readonly #recoverer: Recoverer;
  readonly #bareFlows: BareFlows;

  constructor(deps: DeathsDeps) {
    this.#deps = deps;
    const lost = new LostSessions(deps);
    this.#lost = lost;
    this.records = new TakeOverRecords(deps.counters, deps.logger);
    this.finishing = new Finishing({ ...deps, lost });
    this.forsaken = new ForsakenFlows({ ...deps, reset: (record, owner) => lost.forsake(record, owner) });
    this.#takeOvers = new TakeOvers({ ...deps, lost });
    this.#recoverer = new Recoverer(deps);
    this.#bareFlows = new BareFlows(deps);
  }

  /** The moment of death: who is responsible for what the process has, from now on. */
  open(dead: DeadProcess): Estate {
    const { endpoint, instance } = dead;
    const orphans = new Set<Session>();
    let finishing = 0;
    for (const session of new Set([...endpoint.sessions, ...this.#takeOvers.takeWaiting(instance)])) {
      if (session.owner !== endpoint || session.isFinishing === true) continue;
      if (this.finishing.take(session, instance, dead.isReplaced)) finishing++;
      else {
        session.isOrphan = true;
        orphans.add(session);
      }
    }
    return { dead, orphans, bare: this.#bareFlows.list(endpoint), finishing };
  }

  /** A process without protection was replaced: nobody has replicas of what it had, and its sessions are the reconciler's. */
  endUnprotected(endpoint: Endpoint, instance: string): void {
    void this.#bareFlows.list(endpoint).then((bare) => this.#bareFlows.end(bare, endpoint, instance));
  }

  /** Such a process had ended that session: its host's kernel delivers the rest, or its client is told. False if it had not. */
  takeClosing(session: Session, instance: string): boolean {
    if (session.closing === undefined) return false;
    if (!this.finishing.take(session, instance, true))
      void this.#lost.giveUp(session, session.owner, 'its process is gone');
    return true;
  }

  /** Sessions of the dead that only replicas tell of; `isWhole`: everybody has answered. See recoverer.ts. */
  adoptAll(
    areRecordsNew: boolean,
  ): Promise<{ readonly adopted: readonly Adopted[]; readonly isWhole: boolean }> {
    return this.#recoverer.adoptAll(this.#deps.members(), areRecordsNew);
  }

  /** The record of an adopted session names its buddy already. */
  letServe({ session, replica, owner }: Adopted): void {
    void this.#takeOvers.letServe(session, replica.buddy, owner);
  }

  /**
   * Its lease has ended: everything is given away, given up or reset. Resolves when each session is served or given up.
   * `onAsked`: the first question is under way.
   */
  async settle(estate: Estate, reason: DeathReason, lastHeardMs: number, onAsked: () => void): Promise<void> {
    const { endpoint, instance, isLeaving } = estate.dead;
    const { clock } = this.#deps;
    const beganMs = clock.monotonicMs();
    const orphans = [...estate.orphans].filter((session) => session.owner === endpoint);
    // Only its own kernel could have gone on with these, and nobody sees that any more.
    const isKernels = (session: Session): boolean => session.closing?.finisher === 'kernel';
    const unseen = orphans.filter(isKernels).map((session) => this.#giveUp(session, endpoint));
    const givenAway = this.#takeOvers.giveAway(
      orphans.filter((session) => !isKernels(session)),
      endpoint,
      (replicas) => this.#recoverer.adoptUntold(replicas, endpoint, instance),
    );
    onAsked();
    const { taken, losses } = await givenAway;
    const doneMs = clock.monotonicMs() - beganMs;
    // Only now it is known which of them are sessions that only their replicas told of.
    const bare = await this.#bareFlows.end(await estate.bare, endpoint, instance);
    const figures = { detectMs: beganMs - lastHeardMs, doneMs, taken, finishing: estate.finishing, bare };
    this.records.add({ endpoint: endpoint.name, reason, isLeaving, ...figures }, [...unseen, ...losses]);
  }

  #giveUp(session: Session, endpoint: Endpoint): Promise<Loss> {
    return this.#lost.giveUp(session, endpoint, 'its host died before its kernel had delivered the rest');
  }
}
