/**
 * What an endpoint does so that its sessions survive it, and what it does for others': commits go out, replicas are
 * kept, dead endpoints' sessions are taken over.
 *
 * All sessions that changed in one turn commit together: one TLS write a buddy, and one write of its answer.
 */
import type { Socket } from 'node:net';
import type { Channel, TlsFiles } from '@restitch/channel';
import { type Clock, type Counters, type Flow, formatFlow, type Logger, RestitchError } from '@restitch/core';
import type { FromEndpoint, Peer } from '@restitch/core/internal';
import type { ProtectionSettings } from '@restitch/guard';
import {
  type AgentMembership,
  type BuddyStore,
  chooseBuddy,
  commitBytes,
  createBuddyStore,
  createGuardControl,
  type GuardControl,
  type GuardPins,
  joinAgent,
  openGuardPins,
  parseToBuddy,
  type ToOwner,
} from '@restitch/guard/internal';
import { afInet, afInet6, familyOf } from '@restitch/sys/internal';
import type { AcceptingListener, ThawedSession } from '../move/target-moves.js';
import { Carrier } from '../session/carrier.js';
import { getSocketHandle } from '../session/node-handle.js';
import type { Session } from '../session/session.js';
import { discardFrozenSocket, freezeSocket, readTemplate, type TemplateOffsets } from '../tcp/index.js';
import { BuddyReports, countByProtection } from './buddy-reports.js';
import { EndpointCost } from './commit-cost.js';
import { CommitSchedule } from './commit-schedule.js';
import { encodeOpening, type Opening } from './opening.js';
import { BareSessions } from './bare-sessions.js';
import { type LostSession, lostInReplay } from './periodic-take-over.js';
import { PeriodicSession } from './periodic-session.js';
import { PlannedMoves } from './planned-moves.js';
import { ProtectedCarrier } from './protected-carrier.js';
import { type ContinuedFrom, ProtectedSession } from './protected-session.js';
import type { ReplicatedSession } from './replicated-session.js';
import { reportReplicas } from './report-replicas.js';
import { PacedQueue } from './paced-queue.js';
import { Partings } from './partings.js';
import { ReplicationLink } from './replication-link.js';
import { TakeOvers } from './take-overs.js';
import { UrgentBytes } from './urgent-bytes.js';

/** What an application says to have its sessions protected. */
export interface GuardOptions {
  /** Unix socket of this host's agent. */
  readonly agentSocket: string;
  /** Failure domains of this host, e.g. {zone: 'z1', rack: 'r7'}. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Labels from the widest domain to the narrowest; a buddy shares as few as possible. */
  readonly domains?: readonly string[];
  /** Memory for other endpoints' sessions, 400 MiB by default. */
  readonly replicaBoundBytes?: number;
}

/** What the protection of an endpoint works with. */
export interface ProtectionContext {
  readonly name: string;
  readonly instance: () => string;
  readonly options: GuardOptions;
  readonly tls: TlsFiles;
  readonly maxMessageBytes: number;
  readonly app: { readonly name: string; readonly version: string };
  readonly findListener: (name: string) => ProtectedListener | undefined;
  readonly tell: (message: FromEndpoint) => void;
  /** Lets go in silence of a session that stands frozen or rebuilt here in the middle of a move. */
  readonly dropCopies: (sessionId: string) => void;
  /** A session that was to be taken over and cannot go on: its client has been reset. */
  readonly onLost: (lost: LostSession) => void;
  /** The session is no longer served here, and nobody needs to be told. */
  readonly onFenced: (session: Session) => void;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
}

/** A listener as take-over needs it. */
export interface ProtectedListener extends AcceptingListener {
  readonly protection: ProtectionSettings | undefined;
}

/** A session that came by a take-over, on top of what a thaw gives. */
export interface TakenSession extends ThawedSession {
  readonly taken: { readonly commit: number; readonly continued: ContinuedFrom; readonly opening: Opening };
}

/** What a carried session was before; nothing for a new connection. */
export interface CarriedFrom {
  readonly taken?: TakenSession['taken'] | undefined;
  /** It was moved here without a replica: where its streams stand, and what its socket has sent. */
  readonly moved?: TemplateOffsets & {
    readonly continued: ContinuedFrom;
    /** Where our FIN stands, if the socket has it already. */
    readonly finSeq?: number | undefined;
  };
}

/** Guarded flows of closed connections are kept this long: their last FIN may have to be repeated. */
const closedLingerMs = 60_000;

/** Crash protection of one endpoint process. */
export class Protection {
  readonly store: BuddyStore;
  /** What planned moves need. */
  readonly moves: PlannedMoves;
  /** What is done for sessions of dead endpoints. */
  readonly takeOvers: TakeOvers;
  readonly #ctx: ProtectionContext;
  readonly #sessions = new Map<string, ReplicatedSession>();
  readonly #links = new Map<string, ReplicationLink>();
  readonly #schedule: CommitSchedule;
  readonly #cost = new EndpointCost();
  readonly #beatsAtNs = new Map<number, bigint>();
  readonly #full = new Set<string>();
  readonly #reports: BuddyReports;
  readonly #bare = new BareSessions();
  readonly #partings = new Partings({
    forget: (buddy, id, epoch) => {
      const link = this.#links.get(buddy);
      link?.send({ t: 'forget', id, epoch });
      return link?.isUp === true;
    },
    isPeer: (name) => this.#links.has(name),
  });
  readonly #urgent: UrgentBytes;
  readonly #reassigning = new PacedQueue<ReplicatedSession>((owned) =>
    this.#assign(owned, this.#chooseBuddy(owned.session.id)),
  );
  #peers: readonly Peer[] = [];
  #membership: AgentMembership | undefined;
  #pins: GuardPins | undefined;
  #guard: GuardControl | undefined;
  #joining: Promise<void> | undefined;

  constructor(context: ProtectionContext) {
    this.#ctx = context;
    this.#reports = new BuddyReports(context.clock, context.tell);
    this.#schedule = new CommitSchedule({
      commit: (owned) => void this.#commitOne(owned),
      onTurnDone: () => this.#links.forEach((link) => link.flush()),
      clock: context.clock,
    });
    this.#urgent = new UrgentBytes(
      context.clock,
      () => this.#sessions.values(),
      (owned) => this.#schedule.mark(owned),
    );
    const { replicaBoundBytes: boundBytes } = context.options;
    this.store = createBuddyStore({
      counters: context.counters,
      ...(boundBytes === undefined ? {} : { boundBytes }),
    });
    this.takeOvers = new TakeOvers(context, {
      store: this.store,
      guard: () => this.#needGuard(),
      pins: () => this.#pins,
      lease: () => this.#membership?.lease ?? 0,
      servedEpoch: (id) => {
        const known = this.#sessions.get(id);
        return known === undefined || known.isHeld ? undefined : known.session.epoch;
      },
      removeLater: (flow, epoch, id) => this.#removeLater(flow, epoch, id),
    });
    this.moves = new PlannedMoves({
      store: this.store,
      guard: () => this.#needGuard(),
      lease: () => this.#membership?.lease ?? 0,
      sessionOf: (id) => {
        const owned = this.#sessions.get(id);
        return owned instanceof ProtectedSession ? owned : undefined;
      },
      plainCarrier: (session, socket) => this.#plainCarrier(session, socket),
      linkTo: (name) => this.#links.get(name),
      own: (session, settings, from) => this.#own(session, settings, from),
      watchUrgent: (fd) => this.#urgent.watch(fd),
      adopt: (owned) => {
        this.#adopt(owned);
        this.#commitNow(owned);
      },
      noteBuddy: (owned) => this.#reports.note(owned),
    });
  }

  /** Joins the host agent. Rejects with `unsupported_host`. */
  start(): Promise<void> {
    this.#joining ??= this.#join();
    return this.#joining;
  }

  /** From now on connections of this listener are gated from their SYN on. */
  async guardListener(vip: { address: string; port: number }, settings: ProtectionSettings): Promise<void> {
    await this.start();
    this.#needGuard().setListener(vip, settings.level, this.#membership?.lease ?? 0);
  }

  /** Figures for people: sessions by what protects them. */
  get summary(): Record<string, number> {
    return {
      ...countByProtection([...this.#sessions.values()]),
      endpoint_replicas: this.store.sessions,
      endpoint_replica_bytes: this.store.keptBytes,
      ...this.#cost.gauges,
    };
  }

  /** A connection of a protected listener gets its carrier: a new one, or one that was taken over. */
  carry(session: Session, socket: Socket, settings: ProtectionSettings, from: CarriedFrom = {}): Carrier {
    const guard = this.#needGuard();
    const lease = this.#membership?.lease ?? 0;
    const { level } = settings;
    const { taken, moved } = from;
    if (level === 'none' || (level === 'periodic' && moved?.continued.outputEnded === true)) {
      const onOver = (): void => this.#removeLater(session.flow, session.epoch, session.id);
      return this.#bare.carry(session, socket, guard, { level, lease, finSeq: moved?.finSeq, onOver });
    }
    const at = { inputRead: moved?.inputRead ?? 0, outputWritten: moved?.outputWritten ?? 0 };
    const opening = taken?.opening ?? this.#open(session, socket, { level, at });
    if (taken === undefined) {
      const { template } = opening;
      guard.register(session.flow, {
        session: session.id,
        epoch: session.epoch,
        level,
        lease,
        committed: template.clientStart,
        sentEnd: template.serverStart,
        windowScale: template.rcvWscale,
      });
    }
    const continued = taken?.continued ?? moved?.continued;
    const given = { opening, ...(continued === undefined ? {} : { continued }) };
    if (level === 'periodic') return this.#carryPeriodic(session, socket, settings, given);
    const owned = this.#own(session, settings, given);
    this.#adopt(owned);
    this.#urgent.watch(getSocketHandle(socket)?.fd ?? -1);
    return new ProtectedCarrier(socket, session.carrierEvents, owned);
  }

  #carryPeriodic(
    session: Session,
    socket: Socket,
    settings: ProtectionSettings,
    { opening, continued }: { readonly opening: Opening; readonly continued?: ContinuedFrom },
  ): Carrier {
    const owned = new PeriodicSession({
      session,
      settings,
      opening: this.#encodeOpening(session, opening),
      guard: this.#needGuard(),
      clock: this.#ctx.clock,
      onDirty: (dirty) => this.#schedule.mark(dirty),
      onEnded: (ended, then) => this.#part(ended, then),
      ...(continued === undefined ? {} : { continued }),
    });
    this.#adopt(owned);
    return owned.carrierOf(socket);
  }

  /** After a move that came to nothing, at levels that hold nothing back. */
  #plainCarrier(session: Session, socket: Socket): Carrier {
    const owned = this.#sessions.get(session.id);
    if (owned instanceof PeriodicSession) return owned.carrierOf(socket);
    if (this.#bare.has(session)) return this.#bare.carrierOf(session, socket, this.#needGuard());
    return new Carrier(socket, session.carrierEvents);
  }

  #adopt(owned: ReplicatedSession): void {
    const { session } = owned;
    this.#sessions.set(session.id, owned);
    session.commitNow = () => {
      owned.isAsked = true;
      return this.#commitOne(owned);
    };
    session.guards.onIdle = () => {
      owned.wentIdle();
      this.#schedule.mark(owned);
    };
    session.closingParty = owned;
    session.whenOver(() => this.#over(owned));
    owned.buddy = this.#chooseBuddy(session.id);
    if (owned.buddy === undefined) this.#ctx.counters.add('endpoint_sessions_degraded_total');
    this.#reports.note(owned);
    this.#schedule.mark(owned);
  }

  #own(
    session: Session,
    settings: ProtectionSettings,
    from: { readonly opening: Opening; readonly continued?: ContinuedFrom },
  ): ProtectedSession {
    const { opening, continued } = from;
    return new ProtectedSession({
      session,
      settings,
      template: opening.template,
      opening: this.#encodeOpening(session, opening),
      guard: this.#needGuard(),
      onDirty: (dirty) => this.#schedule.mark(dirty),
      onAcked: (acked) => this.#sendAcked(acked),
      onContradicted: (contradicted, error) => this.#contradicted(contradicted.session, error),
      clock: this.#ctx.clock,
      cost: this.#cost,
      ...(continued === undefined ? {} : { continued }),
    });
  }

  /** What its dead owner told the client, nobody can go on from: an honest end instead of other bytes. */
  #contradicted(session: Session, error: RestitchError): void {
    this.#ctx.counters.add('endpoint_take_overs_reset_replay_total');
    this.#ctx.logger.error({ session: session.id }, error.message);
    if (session.listenerCount('error') > 0) session.emit('error', error);
    session.resetAndDestroy();
    this.#ctx.onLost(lostInReplay(session));
  }

  #encodeOpening(session: Session, opening: Opening): Buffer {
    const { name, version } = this.#ctx.app;
    const commitBase = session.resumedFromCommit ?? 0;
    const instance = this.#ctx.instance();
    return encodeOpening({ ...opening, app: { name, version }, moves: session.moves, commitBase, instance });
  }

  /** A heartbeat leaves: a lease that answers it is counted from here. */
  beat(n: number): void {
    this.#beatsAtNs.set(n, this.#ctx.clock.monotonicNs());
    if (this.#beatsAtNs.size > 64) this.#beatsAtNs.delete(this.#beatsAtNs.keys().next().value ?? 0);
  }

  /** The access point renews the lease. */
  renew(n: number, leaseMs: number): void {
    const sentAtNs = this.#beatsAtNs.get(n);
    const lease = this.#membership?.lease;
    if (sentAtNs === undefined || lease === undefined) return;
    this.#needGuard().setLease(lease, sentAtNs + BigInt(Math.round(leaseMs * 1e6)));
  }

  /** Who can be a buddy from now on; sessions whose choice is another one are replicated anew. */
  setPeers(peers: readonly Peer[]): void {
    this.#peers = peers.filter((peer) => peer.name !== this.#ctx.name);
    this.#ctx.logger.info({ peers: this.#peers.map((peer) => peer.name) }, 'peers');
    this.#full.clear();
    for (const [name, link] of this.#links) {
      const peer = this.#peers.find((p) => p.name === name);
      if (peer?.instance === link.instance) continue;
      link.close();
      this.#links.delete(name);
    }
    for (const peer of this.#peers)
      if (!this.#links.has(peer.name)) this.#links.set(peer.name, this.#link(peer));
    this.#partings.peersChanged();
    for (const session of this.#sessions.values()) {
      if (session.isOver) continue;
      // A replica on a dead endpoint is no replica any more.
      for (const former of session.formerBuddies) {
        if (this.#peers.some((peer) => peer.name === former)) continue;
        session.formerBuddies.delete(former);
        session.forgetting.delete(former);
      }
      if (!this.#links.has(session.buddy ?? '')) session.storedN = 0;
      if (this.#chooseBuddy(session.session.id) !== session.buddy) this.#reassigning.add(session);
      this.#stored(session, 0);
    }
  }

  /** Another endpoint's commits come in on this connection. */
  receive(channel: Channel, raw: unknown): void {
    const { name } = channel.peer;
    const message = parseToBuddy(raw, name);
    for (const answer of this.store.receive(name, message)) channel.send(answer);
    if (message.t === 'commit') this.moves.committed(name, message.id);
  }

  /** What there is of a dead endpoint's sessions, or a page of all replicas with whose they are. */
  replicasOf(owner: string | undefined, offset: number): Record<string, unknown> {
    return { replicas: reportReplicas(this.store, owner, offset) };
  }

  /** This instance was declared dead: its sockets go without a packet, for the sessions are others' by now. */
  fence(): void {
    const lease = this.#membership?.lease;
    if (lease !== undefined) this.#needGuard().setLease(lease, 0n);
    for (const owned of this.#sessions.values()) {
      this.#ctx.dropCopies(owned.session.id);
      if (owned.isHeld) continue;
      try {
        const { fd } = owned.session.freeze();
        freezeSocket(fd);
        discardFrozenSocket(fd);
      } catch (error) {
        this.#ctx.logger.warn({ session: owned.session.id }, (error as Error).message);
      }
      owned.session.leave('fenced');
      this.#ctx.onFenced(owned.session);
    }
    for (const session of this.#bare.release()) this.#ctx.onFenced(session);
    this.store.clear();
    this.#ctx.counters.add('endpoint_fenced_total');
  }

  /** The process is about to leave: its end is no crash. */
  leaving(on: boolean): void {
    this.#membership?.leaving(on);
  }

  close(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
    this.#urgent.close();
    this.#membership?.close();
  }

  async #join(): Promise<void> {
    const { options, name, instance, logger } = this.#ctx;
    const membership = await joinAgent(options.agentSocket, { name, instance: instance() });
    this.#membership = membership;
    this.#pins = openGuardPins(membership.pinDirectory);
    this.#guard = createGuardControl(this.#pins);
    membership.onLost(() => logger.warn({ agent: options.agentSocket }, 'host agent lost'));
  }

  #needGuard(): GuardControl {
    if (this.#guard === undefined) throw new RestitchError('internal', 'the host agent was not joined');
    return this.#guard;
  }

  #open(
    session: Session,
    socket: Socket,
    { level, at }: { readonly level: Opening['level']; readonly at: TemplateOffsets },
  ): Opening {
    const fd = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
    const family = familyOf(session.flow.vip.address) === afInet6 ? afInet6 : afInet;
    const template = readTemplate(fd, family, at, this.#ctx.clock.wallMs());
    const isNew = at.inputRead === 0;
    const origin = isNew ? this.#needGuard().originOf(session.flow) : undefined;
    const clientStart = origin?.clientStart ?? template.clientStart;
    return {
      flow: session.flow,
      listener: session.listener,
      app: this.#ctx.app,
      openedAtMs: session.openedAtMs,
      moves: session.moves,
      level,
      commitBase: 0,
      template: { ...template, clientStart },
    };
  }

  #chooseBuddy(sessionId: string): string | undefined {
    const { name, options } = this.#ctx;
    const domains = options.domains ?? [];
    const owner = { name, labels: options.labels ?? {} };
    const candidates = this.#peers.filter((peer) => !this.#full.has(`${peer.name} ${sessionId}`));
    const staying = candidates.filter((peer) => peer.isLeaving !== true);
    const query = { sessionId, owner, domains };
    return chooseBuddy(query, staying) ?? chooseBuddy(query, candidates);
  }

  #link(peer: Peer): ReplicationLink {
    const { name, tls, maxMessageBytes, clock, counters, logger } = this.#ctx;
    return new ReplicationLink({
      name,
      tls,
      maxMessageBytes,
      peer,
      clock,
      counters,
      logger,
      onUp: () => this.#resume(peer.name),
      onMessage: (message) => this.#hear(peer.name, message),
    });
  }

  #resume(buddy: string): void {
    this.#partings.linkUp(buddy);
    for (const session of this.#sessions.values()) {
      // What was to be forgotten over the connection before this one is asked for again.
      if (session.forgetting.delete(buddy)) this.#stored(session, 0);
    }
    const own = [...this.#sessions.values()].filter((s) => s.buddy === buddy && s.owner.n > 0);
    for (const session of own) session.resumedFromN = undefined;
    for (let i = 0; i < own.length; i += 2048) {
      const sessions = own.slice(i, i + 2048).map((s) => ({ id: s.session.id, epoch: s.session.epoch }));
      this.#links.get(buddy)?.send({ t: 'resume', sessions });
    }
    for (const session of this.#sessions.values()) if (session.buddy === buddy) this.#schedule.mark(session);
  }

  /** Returns the bytes that were sent for it. */
  #assign(owned: ReplicatedSession, next: string | undefined): number {
    const before = owned.buddy;
    if (before === next || owned.isOver) return 0;
    owned.buddy = next;
    // The old replica goes only when the new one is there.
    if (before !== undefined && this.#links.has(before)) owned.formerBuddies.add(before);
    if (next !== undefined) owned.formerBuddies.delete(next);
    owned.storedN = 0;
    owned.resumedFromN = undefined;
    if (before !== undefined && next !== undefined) owned.bereavedSinceMs ??= this.#ctx.clock.monotonicMs();
    owned.forgetting.clear();
    this.#reports.note(owned);
    this.#ctx.counters.add(
      next === undefined ? 'endpoint_sessions_degraded_total' : 'endpoint_buddy_changes_total',
    );
    if (next === undefined) this.#schedule.mark(owned);
    // A link that is not up yet asks what its buddy has when it is.
    else if (this.#links.get(next)?.isUp === true) return this.#sendFrom(owned, next, 0);
    return 0;
  }

  /** Everything that `buddy`, which has the commits up to `has`, lacks; returns the bytes. */
  #sendFrom(owned: ReplicatedSession, buddy: string, has: number): number {
    // Each commit that arrives before these makes the buddy ask again: a snapshot for each question would be a storm.
    if (owned.resumedFromN !== undefined && has < owned.resumedFromN) return 0;
    const commits = owned.owner.resume(has);
    owned.resumedFromN = commits[0]?.n;
    for (const commit of commits) this.#links.get(buddy)?.send(commit);
    return commits.reduce((sum, commit) => sum + commitBytes(commit), 0);
  }

  #hear(buddy: string, message: ToOwner): void {
    if (message.t === 'commit-refused') {
      this.#refused(buddy, message);
      return;
    }
    if (message.t === 'forgotten') {
      this.#forgotten(buddy, message);
      return;
    }
    for (const { id, epoch, n } of message.sessions) {
      const owned = this.#sessions.get(id);
      if (owned === undefined || owned.buddy !== buddy || owned.session.epoch !== epoch) continue;
      this.#stored(owned, n);
      if (message.t === 'committed') {
        if (n >= (owned.resumedFromN ?? 0)) owned.resumedFromN = undefined;
      } else this.#sendFrom(owned, buddy, n);
    }
  }

  /**
   * The buddy has commit `n`. As long as another endpoint has an older replica the gate stays shut: after two deaths
   * that one would be taken for the newest.
   */
  #stored(owned: ReplicatedSession, n: number): void {
    owned.storedN = Math.max(owned.storedN, n);
    if (owned.storedN === 0) return;
    this.#noteReplica(owned);
    const { id, epoch } = owned.session;
    for (const former of owned.formerBuddies) {
      if (owned.forgetting.has(former)) continue;
      owned.forgetting.add(former);
      this.#links.get(former)?.send({ t: 'forget', id, epoch });
    }
    if (owned.formerBuddies.size > 0) return;
    owned.committed(owned.storedN);
    this.#reports.note(owned);
    this.#schedule.acknowledged(owned);
  }

  /** The access point has welcomed this endpoint: it knows nothing of buddies. */
  tellAllBuddies(): void {
    this.#reports.repeat(this.#sessions.values());
  }

  #noteReplica(owned: ReplicatedSession): void {
    if (owned.bereavedSinceMs === undefined) return;
    const { clock, counters } = this.#ctx;
    counters.add('endpoint_rereplications_total');
    counters.add('endpoint_rereplication_ms_total', clock.monotonicMs() - owned.bereavedSinceMs);
    owned.bereavedSinceMs = undefined;
  }

  #forgotten(former: string, { id, epoch }: { readonly id: string; readonly epoch: number }): void {
    this.#partings.forgotten(former, id, epoch);
    const owned = this.#sessions.get(id);
    if (owned === undefined || owned.session.epoch !== epoch || !owned.forgetting.delete(former)) return;
    owned.formerBuddies.delete(former);
    this.#stored(owned, 0);
  }

  #refused(buddy: string, message: Extract<ToOwner, { t: 'commit-refused' }>): void {
    const owned = this.#sessions.get(message.id);
    this.#ctx.counters.add(`endpoint_commits_refused_${message.code}_total`);
    if (owned === undefined || owned.buddy !== buddy) return;
    if (message.code === 'no_capacity') {
      this.#full.add(`${buddy} ${message.id}`);
      this.#assign(owned, this.#chooseBuddy(message.id));
    } else if (message.code === 'message_invalid') {
      owned.resumedFromN = undefined;
      this.#sendFrom(owned, buddy, 0);
    }
  }

  /** Number of the newest commit, whether this call made it or an earlier one. A frozen session makes none. */
  #commitOne(owned: ReplicatedSession): number {
    return owned.isHeld ? owned.owner.n : this.#commitNow(owned);
  }

  #commitNow(owned: ReplicatedSession): number {
    const commit = owned.makeCommit();
    if (commit !== undefined && owned.buddy !== undefined) this.#links.get(owned.buddy)?.send(commit);
    // Without a buddy a session goes on unprotected, or stalls until there is one, as its listener says.
    if (owned.buddy === undefined && owned.settings.degraded === 'unprotected')
      owned.committed(owned.owner.n);
    return owned.owner.n;
  }

  /** Its application has ended it: nobody is to go on with it, and only then its end is told. */
  #part(owned: ReplicatedSession, then: () => void): void {
    this.#schedule.forget(owned);
    this.#reassigning.delete(owned);
    this.#partings.begin(owned, then);
    this.#links.forEach((link) => link.flush());
  }

  /** A tail has become shorter: its buddy need not keep what the client has. */
  #sendAcked(owned: ProtectedSession): void {
    if (owned.buddy === undefined || owned.isHeld || owned.waitsFor !== undefined) return;
    const commit = owned.makeAckedCommit();
    if (commit === undefined) return;
    const link = this.#links.get(owned.buddy);
    link?.send(commit);
    link?.flush();
  }

  /** Its connection is over, or served elsewhere: until now its buddy may have been needed. */
  #over(owned: ReplicatedSession): void {
    const { id, epoch, flow } = owned.session;
    owned.over();
    this.#partings.drop(id);
    if (this.#sessions.get(id) === owned) this.#sessions.delete(id);
    this.#forget(owned);
    this.#removeLater(flow, epoch, id);
    this.#ctx.logger.debug({ session: id, flow: formatFlow(flow) }, 'protected session ended');
  }

  /** Nobody is to go on with it. */
  #forget(owned: ReplicatedSession): void {
    const { id, epoch } = owned.session;
    this.#schedule.forget(owned);
    this.#reassigning.delete(owned);
    for (const buddy of [...owned.formerBuddies, owned.buddy ?? '']) {
      this.#links.get(buddy)?.send({ t: 'forget', id, epoch });
    }
  }

  #removeLater(flow: Flow, epoch: number, id: string): void {
    setTimeout(() => void this.#guard?.remove(flow, epoch, id), closedLingerMs).unref();
  }
}
