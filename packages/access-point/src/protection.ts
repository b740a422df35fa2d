/**
 * The crash branch: endpoints are watched, suspects' flows held, the dead's sessions given to their buddies.
 *
 * When to do what is decided by the watch machine (guard room), one for each endpoint process; here its actions are
 * carried out.
 */
import { RestitchError } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import type { Peer } from '@restitch/core/internal';
import { forgiveOwnSleep, newWatch, stepWatch } from '@restitch/guard/internal';
import type {
  DeathReason,
  WatchAction,
  WatchEvent,
  WatchSettings,
  WatchState,
} from '@restitch/guard/internal';
import type { Dataplane } from '@restitch/dataplane';
import type { EndpointLink } from './endpoint-link.js';
import type { Endpoint, EndpointRegistry } from './endpoint-registry.js';
import type { EventFeed } from './event-feed.js';
import type { FlowBatch } from './flow-batch.js';
import { ForsakenFlows } from './forsaken-flows.js';
import { gatherReplicas, judgeReplica } from './recovery.js';
import type { KnownReplica, RecoveryVerdict } from './recovery.js';
import { makeSession } from './session-registry.js';
import type { Session, SessionRegistry } from './session-registry.js';
import type { TakeOverHistory } from './take-over-history.js';
import { TakeOvers } from './take-overs.js';

/** What the crash branch works with. */
export interface ProtectionDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly batch: FlowBatch;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly dataplane: Dataplane;
  readonly feed: EventFeed;
  readonly takeOverHistory: TakeOverHistory;
  readonly heartbeatMs: () => number;
  readonly lingerMs: () => number;
  readonly newId: () => string;
}

/** One take-over of all sessions of a dead endpoint process, for people and the laboratory. */
export interface TakeOverRecord {
  readonly endpoint: string;
  readonly reason: DeathReason;
  /** From the last word of the process to its sessions being given away. */
  readonly detectMs: number;
  /** Until the last session was served again, or given up. */
  readonly doneMs: number;
  readonly taken: number;
  readonly lost: number;
}

interface Watched {
  readonly endpoint: Endpoint;
  readonly instance: string;
  state: WatchState;
  lastHeardMs: number;
  /** Its sessions while they are held or being given away. */
  held: Set<Session>;
}

const missedUntilDead = 3;
const missedUntilStopped = 10;
/** Clocks of two machines run at most 1 % apart. */
const leaseMarginRatio = 0.02;
/** The watch's own resolution: well below a heartbeat. */
const lookMs = 20;
/** Longer than detection, lease and take-over together; past it packets would go to the dead owner. */
const holdMs = 20_000;
const keptRecords = 200;
/** Endpoints dial again within seconds; one that is longer away has most likely died itself. */
const lateComersMs = 300_000;

/** Watches the endpoints that take part in crash protection. */
export class Protection {
  readonly #deps: ProtectionDeps;
  readonly #watched = new Map<string, Watched>();
  readonly #agents = new Map<string, EndpointLink>();
  #peersText = '';
  #lookedAtMs = Number.POSITIVE_INFINITY;
  #judgeFromMs = 0;
  /** undefined before the start is over. */
  #recoverUntilMs: number | undefined;
  #cancel: (() => void) | undefined;
  readonly records: TakeOverRecord[] = [];
  readonly #takeOvers: TakeOvers;
  readonly #forsaken: ForsakenFlows;

  constructor(deps: ProtectionDeps) {
    this.#deps = deps;
    this.#takeOvers = new TakeOvers({
      ...deps,
      members: () => this.#members(),
      hasDied: (instance) => (this.#watched.get(instance)?.state.t ?? 'taken') === 'taken',
    });
    this.#forsaken = new ForsakenFlows({
      ...deps,
      reset: (record, owner) => this.#takeOvers.forsake(record, owner),
    });
  }

  start(): void {
    this.#look();
  }

  close(): void {
    this.#cancel?.();
  }

  /** An endpoint has said hello. */
  greeted(endpoint: Endpoint): void {
    const { hello } = endpoint;
    if (hello?.protection === undefined) return;
    const nowMs = this.#deps.clock.monotonicMs();
    const known = this.#watched.get(hello.instance);
    if (known === undefined) {
      const state = newWatch(nowMs);
      this.#watched.set(hello.instance, {
        endpoint,
        instance: hello.instance,
        state,
        lastHeardMs: nowMs,
        held: new Set(),
      });
    } else this.#step(known, { t: 'heard', nowMs });
    this.#publishPeers(endpoint);
  }

  /** The endpoint is back as another process. False if the old one was not protected: its sessions are lost with it. */
  replaced(endpoint: Endpoint): boolean {
    const known = this.#watched.get(endpoint.hello?.instance ?? '');
    if (known === undefined) return false;
    this.#step(known, { t: 'process-ended', nowMs: this.#deps.clock.monotonicMs(), isFenced: false });
    return true;
  }

  heartbeat(endpoint: Endpoint, n: number): void {
    const known = this.#watched.get(endpoint.hello?.instance ?? '');
    if (known === undefined) return;
    const nowMs = this.#deps.clock.monotonicMs();
    known.lastHeardMs = nowMs;
    this.#step(known, { t: 'heard', nowMs });
    // What it serves must be known first: a process that was taken over from while nobody watched must not send.
    if (endpoint.liveness !== 'joining') this.#step(known, { t: 'lease-requested', nowMs }, n);
  }

  linkLost(endpoint: Endpoint): void {
    const known = this.#watched.get(endpoint.hello?.instance ?? '');
    if (known !== undefined) this.#step(known, { t: 'link-lost', nowMs: this.#deps.clock.monotonicMs() });
  }

  /** A host's agent speaks on `link`. */
  agentJoined(name: string, link: EndpointLink): void {
    this.#agents.set(name, link);
  }

  /** An agent saw a process end. It may speak only of its own endpoint's. */
  processEnded(name: string, event: { readonly instance: string; readonly isFenced: boolean }): void {
    const known = this.#watched.get(event.instance);
    if (known === undefined) return;
    if (known.endpoint.name !== name) {
      throw new RestitchError(
        'forbidden',
        `the agent of ${name} spoke of a process of ${known.endpoint.name}`,
      );
    }
    this.#step(known, {
      t: 'process-ended',
      nowMs: this.#deps.clock.monotonicMs(),
      isFenced: event.isFenced,
    });
  }

  /** True for a process that was declared dead: what it says of its sessions counts no more. */
  isDead(endpoint: Endpoint): boolean {
    const t = this.#watched.get(endpoint.hello?.instance ?? '')?.state.t;
    return t === 'dead' || t === 'taken';
  }

  /**
   * The start of a daemon is over: whoever died while none was there is found by the replicas of its sessions, which are
   * given away now. Resolves when their records are kept, the rest goes on.
   */
  async recover(startedAtMs: number, areRecordsNew: boolean): Promise<void> {
    const { clock, endpoints, batch, counters } = this.#deps;
    this.#recoverUntilMs ??= startedAtMs + lateComersMs;
    if (this.#members().length === 0) return;
    const { leaseMs, leaseMarginMs } = this.#settings();
    // The daemon before may have granted a lease just before it died; this one has granted none to who has not come.
    const waitMs = startedAtMs + leaseMs + leaseMarginMs - clock.monotonicMs();
    if (waitMs > 0) await new Promise<void>((resolve) => clock.after(waitMs, resolve));
    const { newest, isWhole } = await gatherReplicas(this.#members(), clock);
    const dead = new Map<string, Watched>();
    for (const replica of newest.values()) {
      const owner = endpoints.ensure(replica.owner);
      const verdict = this.#judge(replica, owner, areRecordsNew);
      if (verdict === 'leave') continue;
      const { instance } = replica;
      const known = this.#watched.get(instance) ?? this.#declareDead(owner, instance, startedAtMs);
      dead.set(instance, known);
      this.#adopt(replica, known, verdict);
    }
    batch.flush();
    for (const known of dead.values()) {
      counters.add('protection_recoveries_total');
      void this.#takeOver(known, 'host');
    }
    if (isWhole) void this.#forsaken.look();
  }

  /** An endpoint's list is complete. One that comes after the start may keep replicas that were asked for in vain. */
  announced(endpoint: Endpoint): void {
    const nowMs = this.#deps.clock.monotonicMs();
    if (endpoint.hello?.protection === undefined || nowMs > (this.#recoverUntilMs ?? 0)) return;
    this.#recoverAgain(nowMs);
  }

  #recoverAgain(nowMs: number): void {
    this.recover(nowMs, false).catch((error: Error) =>
      this.#deps.logger.error({ reason: error.message }, 'sessions of the dead are not found'),
    );
  }

  /**
   * The endpoint announced a session that was given away while this process could not be told: it is fenced, and all it
   * has is given away, also what it had not announced yet.
   */
  contradicted(endpoint: Endpoint): void {
    const known = this.#watched.get(endpoint.hello?.instance ?? '');
    if (known === undefined || this.isDead(endpoint)) return;
    const nowMs = this.#deps.clock.monotonicMs();
    this.#step(known, { t: 'process-ended', nowMs, isFenced: false });
    endpoint.link?.tell({ t: 'fenced', reason: 'cut' });
    this.#deps.counters.add('protection_contradictions_total');
    this.#recoverAgain(nowMs);
  }

  #judge(replica: KnownReplica, owner: Endpoint, areRecordsNew: boolean): RecoveryVerdict {
    const { sessions, dataplane } = this.#deps;
    const { id, flow, buddy } = replica;
    return judgeReplica(replica, {
      isServed: sessions.byId(id) !== undefined || sessions.byFlow(flow) !== undefined,
      ownerInstance: owner.hello?.instance,
      ownerId: owner.id,
      buddyId: buddy.id,
      record: dataplane.lookup(flow),
      areRecordsNew,
    });
  }

  /** Should it come back after all, it is told that it is fenced. */
  #declareDead(endpoint: Endpoint, instance: string, lastHeardMs: number): Watched {
    const nowMs = this.#deps.clock.monotonicMs();
    const state: WatchState = { t: 'taken', reason: 'host', deadAtMs: nowMs, atMs: nowMs };
    const known = { endpoint, instance, state, lastHeardMs, held: new Set<Session>() };
    this.#watched.set(instance, known);
    return known;
  }

  /** The registry learns of a session that nobody announces, and its packets are kept. */
  #adopt(replica: KnownReplica, known: Watched, verdict: RecoveryVerdict): void {
    const { sessions, dataplane, batch, clock } = this.#deps;
    const { id, flow, openedAtMs, buddy } = replica;
    const isSwitched = verdict === 'let-serve';
    const epoch = dataplane.lookup(flow)?.epoch ?? replica.epoch;
    const owner = isSwitched ? buddy : known.endpoint;
    const report = { id, flow, epoch, phase: 'live' as const, openedAtMs };
    const session = makeSession(owner, report, clock.monotonicMs());
    session.isOrphan = true;
    sessions.add(session);
    if (verdict === 'claim-and-give-away') batch.push({ op: 'claim', flow, endpointId: owner.id, epoch });
    batch.push({ op: 'hold', flow, epoch, deadlineNs: this.#holdDeadlineNs() });
    if (isSwitched) void this.#takeOvers.letServe(session, buddy, known.endpoint);
    else known.held.add(session);
  }

  #holdDeadlineNs(): bigint {
    return this.#deps.clock.monotonicNs() + BigInt(holdMs) * 1_000_000n;
  }

  #settings(): WatchSettings {
    const heartbeatMs = this.#deps.heartbeatMs();
    const leaseMs = heartbeatMs * missedUntilDead;
    return {
      heartbeatMs,
      missedUntilDead,
      missedUntilStopped,
      leaseMs,
      leaseMarginMs: leaseMs * leaseMarginRatio,
    };
  }

  #look(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const heartbeatMs = this.#deps.heartbeatMs();
    // Who slept itself has not listened: what was said meanwhile is still to be read.
    if (nowMs - this.#lookedAtMs > lookMs + heartbeatMs / 4) {
      const sleptMs = nowMs - this.#lookedAtMs - lookMs;
      for (const known of this.#watched.values()) {
        known.state = forgiveOwnSleep(known.state, sleptMs, nowMs);
      }
      this.#judgeFromMs = nowMs + 2 * lookMs;
      this.#deps.counters.add('protection_own_stalls_total');
    }
    this.#lookedAtMs = nowMs;
    for (const known of this.#watched.values()) {
      if (known.state.t !== 'dead' && nowMs < this.#judgeFromMs) continue;
      const agentHeardAtMs = this.#agents.get(known.endpoint.name)?.lastHeardMs ?? 0;
      this.#step(known, { t: 'tick', nowMs, agentHeardAtMs });
    }
    this.#publishPeers();
    this.#cancel = this.#deps.clock.after(lookMs, () => this.#look());
  }

  #step(known: Watched, event: WatchEvent, heartbeat = 0): void {
    const before = known.state.t;
    const { state, actions } = stepWatch(known.state, event, this.#settings());
    known.state = state;
    if (state.t !== before) {
      const { name } = known.endpoint;
      this.#deps.logger.info(
        { endpoint: name, instance: known.instance, from: before, to: state.t },
        'watch',
      );
    }
    for (const action of actions) this.#perform(known, action, heartbeat);
    // Its next process may announce an empty list before the lease has ended: they are not over, they wait.
    if (state.t === 'dead' && before !== 'dead') this.#markOrphans(known);
  }

  #perform(known: Watched, action: WatchAction, heartbeat: number): void {
    const { endpoint } = known;
    const isCurrent = endpoint.hello?.instance === known.instance;
    switch (action.t) {
      case 'hold':
        this.#hold(known);
        return;
      case 'give-back':
        for (const session of known.held) this.#giveBack(session, endpoint);
        known.held.clear();
        this.#deps.counters.add('protection_false_alarms_total');
        return;
      case 'grant':
        if (isCurrent) endpoint.link?.tell({ t: 'lease', n: heartbeat, leaseMs: action.leaseMs });
        return;
      case 'refuse-lease':
        this.#deps.counters.add('protection_leases_refused_total');
        return;
      case 'fence':
        if (isCurrent) endpoint.link?.tell({ t: 'fenced', reason: action.reason });
        return;
      case 'take-over':
        void this.#takeOver(known, action.reason);
        return;
    }
  }

  #markOrphans(known: Watched): Session[] {
    const own = [...known.held, ...this.#takeOvers.takeWaiting(known.instance)];
    const orphans = [...new Set(own)].filter((session) => session.owner === known.endpoint);
    for (const session of orphans) session.isOrphan = true;
    return orphans;
  }

  /** A session in the middle of a move is kept by the move, and one that was moved away is not this endpoint's. */
  #giveBack({ flow, epoch, owner, move }: Session, endpoint: Endpoint): void {
    if (owner === endpoint && (move === undefined || move.isHoldOver)) {
      this.#deps.batch.push({ op: 'release', flow, epoch });
    }
  }

  /** False for one that may be about to die: its protected sessions would be switched to it and not taken over. */
  mayReceive(endpoint: Endpoint): boolean {
    const known = this.#watched.get(endpoint.hello?.instance ?? '');
    return known === undefined || known.state.t === 'healthy';
  }

  #hold(known: Watched): void {
    const deadlineNs = this.#holdDeadlineNs();
    known.held = new Set(known.endpoint.sessions);
    for (const { flow, epoch } of known.held) this.#deps.batch.push({ op: 'hold', flow, epoch, deadlineNs });
    this.#deps.batch.flush();
    this.#deps.counters.add('protection_suspects_total');
  }

  async #takeOver(known: Watched, reason: DeathReason): Promise<void> {
    const { clock, counters, logger } = this.#deps;
    const { endpoint } = known;
    const beganMs = clock.monotonicMs();
    const orphans = this.#markOrphans(known);
    const givenAway = this.#takeOvers.giveAway(orphans, endpoint);
    // After the first question: at this word everybody begins to replicate anew what the dead one kept.
    this.#publishPeers();
    const { taken, lost } = await givenAway;
    const record: TakeOverRecord = {
      endpoint: endpoint.name,
      reason,
      detectMs: beganMs - known.lastHeardMs,
      doneMs: clock.monotonicMs() - beganMs,
      taken,
      lost,
    };
    this.records.push(record);
    if (this.records.length > keptRecords) this.records.shift();
    known.held.clear();
    // As long as no other process speaks for its name it may come back, and must learn that it is fenced.
    const isReplaced = endpoint.hello !== undefined && endpoint.hello.instance !== known.instance;
    if (isReplaced) this.#watched.delete(known.instance);
    counters.add('protection_take_overs_total');
    counters.add('protection_sessions_taken_total', taken);
    logger.warn({ ...record }, 'sessions of a dead endpoint were taken over');
  }

  #members(): Endpoint[] {
    return this.#deps.endpoints.all().filter((e) => {
      // Without a control connection it may still keep replicas: only death makes it leave.
      const { hello } = e;
      if (hello?.protection === undefined) return false;
      const t = this.#watched.get(hello.instance)?.state.t;
      return t === 'healthy' || t === 'suspect';
    });
  }

  /** Tells everybody who is there, when that has changed, and `newcomer` in any case. */
  #publishPeers(newcomer?: Endpoint): void {
    const members = this.#members();
    const peers: Peer[] = members.flatMap(({ hello, drain }) =>
      hello?.protection === undefined
        ? []
        : [
            {
              name: hello.name,
              instance: hello.instance,
              stateAddress: hello.stateAddress,
              labels: hello.protection.labels,
              ...(drain === 'none' ? {} : { isLeaving: true }),
            },
          ],
    );
    const text = JSON.stringify(peers);
    const isNews = text !== this.#peersText;
    this.#peersText = text;
    for (const member of isNews ? members : members.filter((m) => m === newcomer)) {
      member.link?.tell({ t: 'peers', peers });
    }
  }
}
