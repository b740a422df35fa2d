/**
 * What an endpoint does so that its sessions survive it, and what it does for others': sessions are carried behind the
 * gate of the host agent and replicated, others' replicas are kept, dead endpoints' sessions are taken over.
 */
import type { Socket } from 'node:net';
import type { Channel, TlsFiles } from '@restitch/channel';
import { type Clock, type Counters, type Flow, formatFlow, type Logger, RestitchError } from '@restitch/core';
import type { FromEndpoint, ReplyTo } from '@restitch/wire/internal';
import type { ProtectionSettings } from '@restitch/guard';
import {
  type AgentMembership,
  type BuddyStore,
  createBuddyStore,
  createGuardControl,
  type GuardControl,
  type GuardPins,
  joinAgent,
  openGuardPins,
} from '@restitch/guard/internal';
import { parseMessage, encodeOpening, type Opening, toBuddySchema } from '@restitch/wire/internal';
import { afInet, afInet6, familyOf } from '@restitch/sys/internal';
import type { AcceptingListener, ThawedSession } from '../move/target-moves.js';
import type { Carrier } from '../session/carrier.js';
import { SocketCarrier } from '../session/socket-carrier.js';
import { getSocketHandle } from '../session/node-handle.js';
import type { Session } from '../session/session.js';
import { discardFrozenSocket, freezeSocket, readTemplate, type TemplateOffsets } from '../tcp/index.js';
import { countByProtection } from './buddy-reports.js';
import { EndpointCost } from './commit-cost.js';
import { BareSessions } from './bare-sessions.js';
import { type LostSession, lostInReplay } from './periodic-take-over.js';
import { PeriodicSession } from './periodic-session.js';
import { PlannedMoves } from './planned-moves.js';
import { ProtectedCarrier } from './protected-carrier.js';
import { type ContinuedFrom, ProtectedSession } from './protected-session.js';
import { Replication } from './replication.js';
import { reportReplicas } from './report-replicas.js';
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
  /** Who keeps the replicas of the sessions that are served here. */
  readonly replication: Replication;
  /** What is done for sessions of dead endpoints. */
  readonly takeOvers: TakeOvers;
  readonly #ctx: ProtectionContext;
  readonly #cost = new EndpointCost();
  readonly #beatsAtNs = new Map<number, bigint>();
  readonly #bare = new BareSessions();
  readonly #urgent: UrgentBytes;
  #leaseEndsAtNs = 0n;
  #membership: AgentMembership | undefined;
  #pins: GuardPins | undefined;
  #guard: GuardControl | undefined;
  #joining: Promise<void> | undefined;

  constructor(context: ProtectionContext) {
    this.#ctx = context;
    this.replication = new Replication(context, (owned) => this.#over(owned.session));
    this.#urgent = new UrgentBytes(
      context.clock,
      () => this.replication.sessions,
      (owned) => this.replication.mark(owned),
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
      isLeased: () => this.#ctx.clock.monotonicNs() < this.#leaseEndsAtNs,
      servedEpoch: (id) => {
        const known = this.replication.find(id);
        return known === undefined || known.isHeld ? undefined : known.session.epoch;
      },
      removeLater: (flow, epoch, id) => this.#removeLater(flow, epoch, id),
    });
    this.moves = new PlannedMoves({
      store: this.store,
      guard: () => this.#needGuard(),
      lease: () => this.#membership?.lease ?? 0,
      sessionOf: (id) => {
        const owned = this.replication.find(id);
        return owned instanceof ProtectedSession ? owned : undefined;
      },
      plainCarrier: (session, socket) => this.#plainCarrier(session, socket),
      linkTo: (name) => this.replication.linkTo(name),
      own: (session, settings, from) => this.#own(session, settings, from),
      watchUrgent: (fd) => this.#urgent.watch(fd),
      adopt: (owned) => {
        this.replication.adopt(owned);
        this.replication.commit(owned);
      },
      noteBuddy: (owned) => this.replication.noteBuddy(owned),
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
      ...countByProtection([...this.replication.sessions]),
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
    this.replication.adopt(owned);
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
      onDirty: (dirty) => this.replication.mark(dirty),
      onEnded: (ended, then) => this.replication.part(ended, then),
      ...(continued === undefined ? {} : { continued }),
    });
    this.replication.adopt(owned);
    return owned.carrierOf(socket);
  }

  /** After a move that came to nothing, at levels that hold nothing back. */
  #plainCarrier(session: Session, socket: Socket): Carrier {
    const owned = this.replication.find(session.id);
    if (owned instanceof PeriodicSession) return owned.carrierOf(socket);
    if (this.#bare.has(session)) return this.#bare.carrierOf(session, socket, this.#needGuard());
    return new SocketCarrier(socket, session.carrierEvents);
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
      onDirty: (dirty) => this.replication.mark(dirty),
      onAcked: (acked) => this.replication.sendAcked(acked),
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
    this.#leaseEndsAtNs = sentAtNs + BigInt(Math.round(leaseMs * 1e6));
    this.#needGuard().setLease(lease, this.#leaseEndsAtNs);
  }

  /** Another endpoint's commits come in on this connection. */
  receive(channel: Channel, raw: unknown): void {
    const { name } = channel.peer;
    const message = parseMessage(toBuddySchema, raw, name);
    for (const answer of this.store.receive(name, message)) channel.send(answer);
    if (message.t === 'commit') this.moves.committed(name, message.id);
  }

  /** What there is of a dead endpoint's sessions, or a page of all replicas with whose they are. */
  replicasOf(owner: string | undefined, offset: number): ReplyTo<'replicas'> {
    return { replicas: reportReplicas(this.store, owner, offset) };
  }

  /** This instance was declared dead: its sockets go without a packet, for the sessions are others' by now. */
  fence(): void {
    const lease = this.#membership?.lease;
    this.#leaseEndsAtNs = 0n;
    if (lease !== undefined) this.#needGuard().setLease(lease, 0n);
    this.takeOvers.cancel();
    for (const owned of this.replication.sessions) {
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
    this.replication.close();
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

  /** Its connection is over, or served elsewhere. */
  #over({ id, epoch, flow }: Session): void {
    this.#removeLater(flow, epoch, id);
    this.#ctx.logger.debug({ session: id, flow: formatFlow(flow) }, 'protected session ended');
  }

  #removeLater(flow: Flow, epoch: number, id: string): void {
    setTimeout(() => void this.#guard?.remove(flow, epoch, id), closedLingerMs).unref();
  }
}
