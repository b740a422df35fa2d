/**
 * The crash branch: endpoints are watched, suspects' flows held, and what a dead one leaves is brought to its end
 * (deaths.ts).
 *
 * When to do what is decided by the watch machine (guard room), one for each endpoint process; here its actions are
 * carried out.
 */
import { RestitchError } from '@restitch/core';
import type { Clock, Counters, Flow, Logger } from '@restitch/core';
import { forgiveOwnSleep, newWatch, stepWatch } from '@restitch/guard/internal';
import type { DeathReason, WatchAction, WatchEvent, WatchState } from '@restitch/guard/internal';
import type { Dataplane } from '@restitch/dataplane';
import type { ClientEnds } from '../ownership/client-ends.js';
import { Deaths } from './deaths.js';
import type { Estate } from './deaths.js';
import type { EndpointLink } from '../model/endpoint-link.js';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { EventFeed } from '../model/event-feed.js';
import type { FinishedFlow } from './finishing.js';
import type { FlowBatch } from '../model/flow-batch.js';
import { HostAgents } from './host-agents.js';
import { PeerList } from './peer-list.js';
import type { Session, SessionRegistry } from '../model/session-registry.js';
import { giveBack, holdSuspects } from './suspect-flows.js';
import type { TakeOverHistory } from '../model/take-over-history.js';
import type { TakeOverRecord } from './take-over-records.js';
import { detectionMsOf, watchSettingsOf } from './watch-settings.js';

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
  readonly clientEnds: ClientEnds;
  readonly heartbeatMs: () => number;
  readonly lingerMs: () => number;
  readonly newId: () => string;
  /** That process of the endpoint has ended, or was declared dead: it gets no new flows, and its leaving is over. */
  readonly onDeath: (endpoint: Endpoint, instance: string) => void;
}

interface Watched {
  readonly endpoint: Endpoint;
  readonly instance: string;
  state: WatchState;
  lastHeardMs: number;
  /** Its sessions while they are held. */
  held: Set<Session>;
  /** What it leaves, from its death on. */
  estate: Estate | undefined;
  isLeaving: boolean;
  /** Another process has said hello under its name. */
  isReplaced: boolean;
}

/** The watch's own resolution: well below a heartbeat. */
const lookMs = 20;
/** Endpoints dial again within seconds; one that is longer away has most likely died itself. */
const lateComersMs = 300_000;

/** Watches the endpoints that take part in crash protection. */
export class Protection {
  readonly #deps: ProtectionDeps;
  readonly #watched = new Map<string, Watched>();
  readonly #agents: HostAgents;
  /** Endpoints whose last process has ended, fenced, as their agents say; until another comes. */
  readonly #ended = new Set<string>();
  #lookedAtMs = Number.POSITIVE_INFINITY;
  #judgeFromMs = 0;
  /** undefined before the start is over. */
  #recoverUntilMs: number | undefined;
  /** Whoever died while no daemon was there is known. */
  #isRecovered = false;
  #takingOver = 0;
  #cancel: (() => void) | undefined;
  readonly #deaths: Deaths;
  readonly #peers = new PeerList();

  constructor(deps: ProtectionDeps) {
    this.#deps = deps;
    this.#agents = new HostAgents(deps.clock);
    this.#deaths = new Deaths({
      ...deps,
      agents: this.#agents,
      detectionMs: () => detectionMsOf(deps.heartbeatMs()),
      members: () => this.#members(),
      hasEnded: ({ name }) => this.#ended.has(name),
      hasDied: (instance) => (this.#watched.get(instance)?.state.t ?? 'taken') === 'taken',
    });
  }

  /** What came of each death, oldest first. */
  get records(): readonly TakeOverRecord[] {
    return this.#deaths.records.all;
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
    this.#ended.delete(endpoint.name);
    if (hello?.protection === undefined) return;
    const nowMs = this.#deps.clock.monotonicMs();
    const known = this.#watched.get(hello.instance);
    if (known === undefined) this.#watch(endpoint, hello.instance, newWatch(nowMs), nowMs);
    else this.#step(known, { t: 'heard', nowMs });
    this.#publishPeers(endpoint);
  }

  /**
   * The endpoint is back as another process, which is about to be written into `hello`. False if the old one was not
   * protected: its sessions are lost with it.
   */
  replaced(endpoint: Endpoint): boolean {
    const instance = endpoint.hello?.instance ?? '';
    const known = this.#watched.get(instance);
    if (known === undefined) {
      this.#deaths.endUnprotected(endpoint, instance);
      this.#deps.onDeath(endpoint, instance);
      return false;
    }
    known.isReplaced = true;
    this.#step(known, { t: 'process-ended', nowMs: this.#deps.clock.monotonicMs(), isFenced: false });
    return true;
  }

  /** The unprotected process of a closing session has been replaced. False if it is not closing. */
  closingLeft(session: Session): boolean {
    return this.#deaths.takeClosing(session, session.owner.hello?.instance ?? '');
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
    this.#agents.joined(name, link);
  }

  /** An agent saw a process end. It may speak only of its own endpoint's. */
  processEnded(
    name: string,
    event: {
      readonly instance: string;
      readonly isFenced: boolean;
      readonly isLast?: boolean | undefined;
      readonly isLeaving?: boolean | undefined;
      readonly finishing?: ReadonlyArray<{ readonly flow: Flow; readonly epoch: number }> | undefined;
    },
  ): void {
    const known = this.#watched.get(event.instance);
    if (known === undefined) {
      if (event.isFenced && event.isLast === true) this.#lastEnded(name);
      return;
    }
    if (known.endpoint.name !== name) {
      throw new RestitchError(
        'forbidden',
        `the agent of ${name} spoke of a process of ${known.endpoint.name}`,
      );
    }
    // An agent says again what a daemon that has died may not have heard; what the process had is another's by now.
    if (known.state.t === 'taken') return;
    if (event.isLeaving === true) known.isLeaving = true;
    if (event.finishing !== undefined) this.#noteFinishing(known.endpoint, event.finishing);
    this.#step(known, {
      t: 'process-ended',
      nowMs: this.#deps.clock.monotonicMs(),
      isFenced: event.isFenced,
    });
  }

  /** A process that this daemon has never met; the death of one that it has met is carried out as any. */
  #lastEnded(name: string): void {
    const endpoint = this.#deps.endpoints.byName(name);
    if (endpoint === undefined || endpoint.link !== undefined) return;
    this.#ended.add(name);
    this.#lookForForsaken();
  }

  /** What a dead process has left may be in no list and yet somebody's: not before all of it has been given away. */
  #lookForForsaken(): void {
    if (!this.#isRecovered || this.#deps.clock.monotonicMs() > (this.#recoverUntilMs ?? 0)) return;
    const isLeftOver = [...this.#watched.values()].some(({ estate }) => estate !== undefined);
    if (!isLeftOver && this.#takingOver === 0) void this.#deaths.forsaken.look();
  }

  /** What the guard had been promised decides, not what the process said of it: that may be older or newer. */
  #noteFinishing(
    endpoint: Endpoint,
    flows: ReadonlyArray<{ readonly flow: Flow; readonly epoch: number }>,
  ): void {
    const finishing = new Set<Session>();
    for (const { flow, epoch } of flows) {
      const session = this.#deps.sessions.byFlow(flow);
      if (session?.owner === endpoint && session.epoch === epoch) finishing.add(session);
    }
    for (const session of endpoint.sessions) {
      const { closing } = session;
      if (finishing.has(session))
        this.#deps.sessions.setClosing(session, { tailBytes: 0, ...closing, finisher: 'kernel' });
      else if (closing?.finisher === 'kernel') this.#deps.sessions.setClosing(session, undefined);
    }
  }

  /** An agent's kernel is done with connections of processes that have ended. */
  finished(name: string, flows: readonly FinishedFlow[]): void {
    this.#deaths.finishing.finished(name, flows);
  }

  /** True for a process that was declared dead: what it says of its sessions counts no more. */
  isDead(endpoint: Endpoint): boolean {
    const known = this.#watched.get(endpoint.hello?.instance ?? '');
    return known !== undefined && isOver(known.state);
  }

  /**
   * The start of a daemon is over: whoever died while none was there is found by the replicas of its sessions, which are
   * given away now. Resolves when their records are kept, the rest goes on.
   */
  async recover(startedAtMs: number, areRecordsNew: boolean): Promise<void> {
    const { clock, counters } = this.#deps;
    this.#recoverUntilMs ??= startedAtMs + lateComersMs;
    if (this.#members().length === 0) return;
    const { leaseMs, leaseMarginMs } = watchSettingsOf(this.#deps.heartbeatMs());
    // The daemon before may have granted a lease just before it died; this one has granted none to who has not come.
    const waitMs = startedAtMs + leaseMs + leaseMarginMs - clock.monotonicMs();
    if (waitMs > 0) await new Promise<void>((resolve) => clock.after(waitMs, resolve));
    const { adopted, isWhole } = await this.#deaths.adoptAll(areRecordsNew);
    const dead = new Set<Watched>();
    for (const one of adopted) {
      const { instance } = one.replica;
      const known = this.#watched.get(instance) ?? this.#declareDead(one.owner, instance, startedAtMs);
      dead.add(known);
      if (one.letServe) this.#deaths.letServe(one);
      else this.#estateOf(known).orphans.add(one.session);
    }
    for (const known of dead) {
      counters.add('protection_recoveries_total');
      void this.#takeOver(known, 'host');
    }
    if (isWhole) this.#isRecovered = true;
    this.#lookForForsaken();
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

  /** False for one that may be about to die: its protected sessions would be switched to it and not taken over. */
  mayReceive(endpoint: Endpoint): boolean {
    const known = this.#watched.get(endpoint.hello?.instance ?? '');
    return known === undefined || known.state.t === 'healthy';
  }

  /** Should it come back after all, it is told that it is fenced. */
  #declareDead(endpoint: Endpoint, instance: string, lastHeardMs: number): Watched {
    const nowMs = this.#deps.clock.monotonicMs();
    const state: WatchState = { t: 'taken', reason: 'host', deadAtMs: nowMs, atMs: nowMs };
    return this.#watch(endpoint, instance, state, lastHeardMs);
  }

  #watch(endpoint: Endpoint, instance: string, state: WatchState, lastHeardMs: number): Watched {
    const known: Watched = {
      endpoint,
      instance,
      state,
      lastHeardMs,
      held: new Set(),
      estate: undefined,
      isLeaving: false,
      isReplaced: false,
    };
    this.#watched.set(instance, known);
    return known;
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
      const agentHeardAtMs = this.#agents.heardAtMs(known.endpoint.name);
      this.#step(known, { t: 'tick', nowMs, agentHeardAtMs });
    }
    if (nowMs >= this.#judgeFromMs) this.#deaths.finishing.look(nowMs);
    this.#publishPeers();
    this.#cancel = this.#deps.clock.after(lookMs, () => this.#look());
  }

  #step(known: Watched, event: WatchEvent, heartbeat = 0): void {
    const before = known.state;
    const { state, actions } = stepWatch(before, event, watchSettingsOf(this.#deps.heartbeatMs()));
    known.state = state;
    if (state.t !== before.t) {
      const { name } = known.endpoint;
      this.#deps.logger.info(
        { endpoint: name, instance: known.instance, from: before.t, to: state.t },
        'watch',
      );
    }
    // Its next process may announce an empty list before the lease has ended: what it had is not over, it waits.
    if (isOver(state) && !isOver(before)) this.#die(known);
    for (const action of actions) this.#perform(known, action, heartbeat);
  }

  #perform(known: Watched, action: WatchAction, heartbeat: number): void {
    const { endpoint } = known;
    const { batch, clock, counters } = this.#deps;
    const isCurrent = endpoint.hello?.instance === known.instance;
    switch (action.t) {
      case 'hold':
        known.held = holdSuspects(batch, clock, endpoint);
        counters.add('protection_suspects_total');
        return;
      case 'give-back':
        for (const session of known.held) giveBack(batch, session, endpoint);
        known.held.clear();
        counters.add('protection_false_alarms_total');
        return;
      case 'grant':
        if (isCurrent) endpoint.link?.tell({ t: 'lease', n: heartbeat, leaseMs: action.leaseMs });
        return;
      case 'refuse-lease':
        counters.add('protection_leases_refused_total');
        return;
      case 'fence':
        if (isCurrent) endpoint.link?.tell({ t: 'fenced', reason: action.reason });
        return;
      case 'take-over':
        void this.#takeOver(known, action.reason);
        return;
    }
  }

  #die(known: Watched): void {
    const { endpoint, instance, isReplaced } = known;
    if (endpoint.leavingInstance === instance) known.isLeaving = true;
    known.estate = this.#deaths.open({ endpoint, instance, isReplaced, isLeaving: known.isLeaving });
    endpoint.hasLeft = known.isLeaving;
    this.#deps.onDeath(endpoint, instance);
  }

  /** Of a process whose death nobody saw, the replicas alone tell what it had. */
  #estateOf(known: Watched): Estate {
    const { endpoint, instance } = known;
    const dead = { endpoint, instance, isLeaving: false, isReplaced: false };
    known.estate ??= { dead, orphans: new Set(), bare: Promise.resolve([]), finishing: 0 };
    return known.estate;
  }

  async #takeOver(known: Watched, reason: DeathReason): Promise<void> {
    const { endpoint, instance, lastHeardMs } = known;
    const estate = this.#estateOf(known);
    known.estate = undefined;
    // After the first question: at this word everybody begins to replicate anew what the dead one kept.
    this.#takingOver++;
    try {
      await this.#deaths.settle(estate, reason, lastHeardMs, () => this.#publishPeers());
    } finally {
      this.#takingOver--;
    }
    this.#lookForForsaken();
    known.held.clear();
    // As long as no other process speaks for its name it may come back, and must learn that it is fenced.
    const isReplaced = endpoint.hello !== undefined && endpoint.hello.instance !== instance;
    if (isReplaced) this.#watched.delete(instance);
  }

  #members(): Endpoint[] {
    return this.#deps.endpoints.all().filter((e) => {
      // Without a control connection it may still keep replicas: only death makes it leave.
      const { hello } = e;
      if (hello?.protection === undefined) return false;
      const known = this.#watched.get(hello.instance);
      return known !== undefined && !isOver(known.state);
    });
  }

  /** Tells everybody who is there, when that has changed, and `newcomer` in any case. */
  #publishPeers(newcomer?: Endpoint): void {
    this.#peers.publish(this.#members(), newcomer);
  }
}

function isOver({ t }: WatchState): boolean {
  return t === 'dead' || t === 'taken';
}
