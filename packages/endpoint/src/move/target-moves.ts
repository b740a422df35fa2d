/**
 * The target's half of moves: a reservation, one image for it, a socket rebuilt in repair, and then either serving or
 * dropping it without a packet.
 *
 * A pending socket has no deadline of its own: only the record says who owns the session, and only the access point
 * reads the record. A reservation has one, because nothing is lost with it.
 */
import {
  type Clock,
  type Counters,
  type Flow,
  type Logger,
  RestitchError,
  formatFlow,
  toRestitchError,
} from '@restitch/core';
import { type PlainData } from '@restitch/wire';
import {
  type FromEndpoint,
  type SessionImage,
  type SessionReport,
  type ToEndpoint,
  decodeImage,
  toFailure,
  type ReplyTo,
} from '@restitch/wire/internal';
import type { ProtectionSettings } from '@restitch/guard';
import { type ArrivedSession, completeFromReplica, continuedFrom } from '../protect/planned-move.js';
import type { ReplicaBase } from '../protect/planned-moves.js';
import type { Protection } from '../protect/protection.js';
import type { Session } from '../session/session.js';
import { threadCpuNs } from '@restitch/sys';
import type { SessionTable } from '../session-table.js';
import {
  type ActiveTcp,
  type PendingTcp,
  ReservedSocket,
  activateSocket,
  discardPendingSocket,
  thawSocket,
} from '../tcp/index.js';
import { describeImage } from '../tcp/describe-image.js';
import { FinishedMoves } from './finished-moves.js';
import type { IncomingImage } from './state-listener.js';

type Request<T extends ToEndpoint['t']> = Extract<ToEndpoint, { t: T }>;

/** The application's side of a listener, as a target needs it. */
export interface AcceptingListener {
  accepts(app: { readonly name: string; readonly version: string }): boolean;
  /** State as this version of the application wants it; throws if it cannot be had. */
  upgradeState(image: SessionImage): PlainData;
  /** Level `commit` or below; undefined: none. */
  readonly protection: ProtectionSettings | undefined;
  /** The application's object for a session that is about to become this endpoint's; nobody is told of it yet. */
  prepare(image: SessionImage, state: PlainData, epoch: number): Session;
  /** The session is this endpoint's: serve it. */
  resume(session: ThawedSession): void;
}

/** A session that has become this endpoint's. */
export interface ThawedSession {
  readonly moveId: string;
  readonly image: SessionImage;
  readonly state: PlainData;
  readonly epoch: number;
  readonly source: string;
  /** The socket in service; its `unsent` bytes go before `image.unwritten`. */
  readonly socket: ActiveTcp;
  /** Of a protected session: what replicates it already. */
  readonly arrived?: ArrivedSession;
}

interface Reservation {
  readonly moveId: string;
  readonly sessionId: string;
  readonly flow: Flow;
  readonly epoch: number;
  readonly source: string;
  readonly listener: AcceptingListener;
  readonly listenerName: string;
  /** The socket the image will fill. */
  readonly socket: ReservedSocket;
  readonly cancelExpiry: () => void;
}

interface Pending {
  readonly reservation: Reservation;
  readonly image: SessionImage;
  readonly state: PlainData;
  readonly socket: PendingTcp;
  /** CPU time of this thread that the thaw took. */
  readonly thawCpuUs: number;
  /** Of a protected session. */
  arrived?: ArrivedSession;
}

/** An image on its way from the wire to a pending socket. */
interface Arrival {
  readonly source: string;
  readonly reservation: Reservation;
  readonly startMs: number;
}

/** What the target's half needs. */
export interface TargetContext {
  readonly table: SessionTable;
  readonly findListener: (name: string) => AcceptingListener | undefined;
  readonly tell: (message: FromEndpoint) => void;
  /** For what the client waits for. */
  readonly tellUrgently: (message: FromEndpoint) => void;
  readonly protection: () => Protection | undefined;
  readonly capacitySessions: number;
  readonly maxImageBytes: number;
  readonly features: readonly string[];
  readonly isClosing: () => boolean;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
}

/** Moves to here. */
export class TargetMoves {
  readonly #ctx: TargetContext;
  readonly #reserved = new Map<string, Reservation>();
  readonly #pending = new Map<string, Pending>();
  /** Images whose commit is still under way to this buddy; the function gives up. */
  readonly #awaiting = new Map<string, () => void>();
  readonly #finished = new FinishedMoves<'activated' | 'aborted' | 'expired' | 'failed'>();

  constructor(context: TargetContext) {
    this.#ctx = context;
  }

  /** Keeps a place. Throws the reason of the refusal. */
  reserve(request: Request<'reserve'>): ReplyTo<'reserve'> {
    const { table, clock, features, findListener } = this.#ctx;
    const known = this.#reserved.get(request.moveId);
    if (known !== undefined || this.#pending.has(request.moveId)) {
      throw new RestitchError('message_invalid', `move ${request.moveId} is reserved already`);
    }
    const listener = findListener(request.listener);
    if (listener === undefined) {
      throw new RestitchError('app_refused', `no listener ${request.listener} here`, {
        details: { listener: request.listener },
      });
    }
    const { app } = request;
    if (request.isClosing !== true && !listener.accepts(app)) {
      throw new RestitchError('app_refused', `${app.name} ${app.version} is not accepted here`, {
        details: app,
      });
    }
    this.#assertPlace();
    const knownEpoch = table.knownEpoch(request.sessionId);
    if (request.epoch <= knownEpoch) throw stale(request.sessionId, request.epoch, knownEpoch);
    if (table.ownsFlow(request.flow)) {
      throw new RestitchError('session_moving', `${formatFlow(request.flow)} is served here already`);
    }
    this.#reserved.set(request.moveId, {
      moveId: request.moveId,
      sessionId: request.sessionId,
      flow: request.flow,
      epoch: request.epoch,
      source: request.source,
      listener,
      listenerName: request.listener,
      socket: this.#reserveSocket(request.flow),
      cancelExpiry: clock.after(request.expiresMs, () => this.#expire(request.moveId)),
    });
    return { features: [...features] };
  }

  /** Takes the image of a reservation and rebuilds the socket. Throws what the sender is told. */
  takeImage(source: string, incoming: IncomingImage): void {
    const reservation = this.#claim(source, incoming);
    const arrival = { source, reservation, startMs: this.#ctx.clock.monotonicMs() };
    this.#orFail(reservation, () => {
      const image = decodeImage(incoming.image, this.#ctx.maxImageBytes);
      assertFits(image, reservation);
      assertAccepted(image, reservation.listener);
      assertLevels(image, reservation, this.#ctx.protection());
      const base = image.protection?.base;
      if (base === undefined) this.#build(arrival, image);
      else this.#awaitBase(arrival, image, base);
    });
  }

  /** The image stands on a commit that comes by another connection. */
  #awaitBase(arrival: Arrival, image: SessionImage, base: ReplicaBase): void {
    const { source, reservation } = arrival;
    const { moveId } = reservation;
    let isHere = false;
    const giveUp = this.#ctx.protection()?.moves.awaitReplica(source, image.sessionId, base, (replica) => {
      isHere = true;
      this.#awaiting.delete(moveId);
      this.#orFail(reservation, () => this.#build(arrival, completeFromReplica(image, replica)));
    });
    if (isHere || giveUp === undefined) return;
    this.#awaiting.set(moveId, () => {
      giveUp();
      reservation.socket.close();
    });
  }

  /** The socket stands, in repair; a protected session is replicated from here before anybody is told. */
  #build({ reservation, startMs }: Arrival, image: SessionImage): void {
    const { tellUrgently, clock, counters } = this.#ctx;
    const { moveId, listener, epoch } = reservation;
    const startCpuNs = threadCpuNs();
    const state = image.closing === undefined ? listener.upgradeState(image) : image.state;
    const socket = thawSocket(image.tcp, image.flow, reservation.socket);
    const thawCpuUs = (threadCpuNs() - startCpuNs) / 1000;
    const pending: Pending = { reservation, image, state, socket, thawCpuUs };
    this.#pending.set(moveId, pending);
    counters.add('endpoint_thaws_total');
    const told = (): void => {
      if (this.#pending.get(moveId) !== pending) return;
      tellUrgently({ t: 'thawed', moveId, thawUs: Math.round((clock.monotonicMs() - startMs) * 1000) });
    };
    const { protection } = this.#ctx;
    if (image.protection === undefined || listener.protection === undefined) return told();
    const session = listener.prepare(image, state, epoch);
    const arrived = protection()?.moves.arrive(session, listener.protection, continuedFrom(image), told);
    if (arrived !== undefined) pending.arrived = arrived;
    counters.add('endpoint_protected_arrivals_total');
  }

  /** What goes wrong with an image is told to the access point and to whoever sent it. */
  #orFail({ moveId, socket }: Reservation, run: () => void): void {
    try {
      run();
    } catch (error) {
      socket.close();
      const failure = toRestitchError(error, 'thaw_failed');
      const pending = this.#pending.get(moveId);
      if (pending !== undefined) this.#discard(pending);
      this.#pending.delete(moveId);
      this.#finished.set(moveId, 'failed');
      this.#ctx.counters.add('endpoint_thaws_failed_total');
      this.#ctx.logger.warn({ moveId, code: failure.code }, failure.message);
      this.#ctx.tell({ t: 'thaw-failed', moveId, failure: toFailure(failure) });
      throw failure;
    }
  }

  #discard({ socket, arrived }: Pending): void {
    discardPendingSocket(socket);
    // Its buddy forgets it with the end of the object.
    arrived?.session.leave('aborted');
  }

  /**
   * The record names this endpoint: leave repair and serve. Answered as soon as the socket takes packets, before the
   * application has its session: until then the access point keeps the client's packets.
   */
  activate(
    request: Request<'activate'>,
    answer: (data: ReplyTo<'activate'>) => void,
  ): ReplyTo<'activate'> | undefined {
    const { moveId, epoch } = request;
    const pending = this.#pending.get(moveId);
    if (pending === undefined) {
      if (this.#finished.get(moveId) === 'activated') return {};
      throw new RestitchError('message_invalid', `move ${moveId}: nothing was thawed here`, {
        details: { moveId },
      });
    }
    const { reservation, image, state, socket, thawCpuUs, arrived } = pending;
    if (epoch !== reservation.epoch) throw stale(reservation.sessionId, epoch, reservation.epoch);
    const startMs = this.#ctx.clock.monotonicMs();
    const startCpuNs = threadCpuNs();
    this.#pending.delete(moveId);
    let active: ActiveTcp;
    try {
      this.#guard(pending);
      active = activateSocket(socket);
    } catch (error) {
      this.#lost(moveId);
      throw toRestitchError(error, 'thaw_failed');
    }
    answer({
      activateUs: Math.round((this.#ctx.clock.monotonicMs() - startMs) * 1000),
      /** Both halves of the thaw. */
      thawCpuUs: Math.round(thawCpuUs + (threadCpuNs() - startCpuNs) / 1000),
    });
    const { source } = reservation;
    const described = describeImage(image.sessionId, image.flow, epoch, image.tcp);
    this.#ctx.logger.debug({ moveId, closing: image.closing, ...described }, 'session activated');
    const resumed = { moveId, image, state, epoch, source, socket: active };
    this.#resume(reservation, arrived === undefined ? resumed : { ...resumed, arrived });
    return undefined;
  }

  #guard({ arrived, socket, reservation }: Pending): void {
    if (arrived === undefined) return;
    try {
      this.#ctx.protection()?.moves.guardArrived(arrived, socket.tcp, reservation.source);
    } catch (error) {
      discardPendingSocket(socket);
      throw error;
    }
  }

  /** The access point takes it for served already: what goes wrong now is the session's end. */
  #resume({ listener, sessionId: id, flow, epoch }: Reservation, session: ThawedSession): void {
    try {
      listener.resume(session);
    } catch (error) {
      const failure = toRestitchError(error, 'thaw_failed');
      this.#lost(session.moveId);
      this.#ctx.logger.error({ moveId: session.moveId, code: failure.code }, failure.message);
      this.#ctx.tell({ t: 'ended', sessions: [{ id, flow, epoch, reason: failure.code }] });
      return;
    }
    this.#finished.set(session.moveId, 'activated');
    this.#ctx.counters.add('endpoint_activations_total');
  }

  #lost(moveId: string): void {
    this.#finished.set(moveId, 'failed');
    this.#ctx.counters.add('endpoint_sessions_lost_total');
  }

  /** Drops whatever there is of a move, in silence. */
  abort(request: Pick<Request<'abort'>, 'moveId'>): ReplyTo<'abort'> {
    const { moveId } = request;
    if (this.#finished.get(moveId) === 'activated') {
      throw new RestitchError('message_invalid', `move ${moveId} is served here: not aborted`, {
        details: { moveId },
      });
    }
    const pending = this.#pending.get(moveId);
    if (pending !== undefined) this.#discard(pending);
    this.#pending.delete(moveId);
    this.#awaiting.get(moveId)?.();
    this.#awaiting.delete(moveId);
    this.#giveBack(moveId);
    this.#finished.set(moveId, 'aborted');
    return {};
  }

  /** The session has an owner by a take-over: a copy that waits here goes without a packet. */
  drop(sessionId: string): void {
    for (const [moveId, { image }] of this.#pending)
      if (image.sessionId === sessionId) this.abort({ moveId });
  }

  /** What is pending, for announcing. */
  reports(): SessionReport[] {
    return [...this.#pending.values()].map(({ reservation, image }) => ({
      id: image.sessionId,
      flow: image.flow,
      epoch: reservation.epoch,
      phase: 'pending',
      moveId: reservation.moveId,
      openedAtMs: image.openedAtMs,
    }));
  }

  /** Sockets that wait for the access point's word. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Drops reservations and pending sockets in silence. */
  close(): void {
    for (const moveId of [...this.#reserved.keys()]) this.#giveBack(moveId);
    for (const pending of this.#pending.values()) this.#discard(pending);
    this.#pending.clear();
    for (const giveUp of this.#awaiting.values()) giveUp();
    this.#awaiting.clear();
  }

  #assertPlace(): void {
    const { table, capacitySessions, isClosing } = this.#ctx;
    if (isClosing()) throw new RestitchError('no_capacity', 'this endpoint is closing', { retryable: false });
    const taken = table.size + this.#reserved.size + this.#pending.size;
    if (taken >= capacitySessions) {
      throw new RestitchError('no_capacity', `${taken} of ${capacitySessions} places are taken`, {
        details: { taken, capacitySessions },
      });
    }
  }

  /** The reservation an image is for; it is used up, whatever becomes of the image. */
  #claim(source: string, { moveId, epoch }: IncomingImage): Reservation {
    const reservation = this.#reserved.get(moveId);
    if (reservation === undefined) {
      const end = this.#finished.get(moveId);
      const late = end === 'aborted' || end === 'expired';
      throw new RestitchError(
        late ? 'deadline_exceeded' : 'forbidden',
        `move ${moveId}: no image is expected${late ? ' any more' : ''}`,
      );
    }
    if (reservation.source !== source) {
      throw new RestitchError(
        'forbidden',
        `move ${moveId} is reserved for ${reservation.source}, not for ${source}`,
      );
    }
    if (epoch !== reservation.epoch) throw stale(reservation.sessionId, epoch, reservation.epoch);
    reservation.cancelExpiry();
    this.#reserved.delete(moveId);
    return reservation;
  }

  #reserveSocket(flow: Flow): ReservedSocket {
    try {
      return new ReservedSocket(flow);
    } catch (cause) {
      throw new RestitchError(
        'no_capacity',
        `no socket for ${formatFlow(flow)}: ${(cause as Error).message}`,
        {
          cause,
        },
      );
    }
  }

  /** Ends a reservation that no image came for; false if there is none. */
  #giveBack(moveId: string): boolean {
    const reservation = this.#reserved.get(moveId);
    if (reservation === undefined) return false;
    reservation.cancelExpiry();
    reservation.socket.close();
    return this.#reserved.delete(moveId);
  }

  #expire(moveId: string): void {
    if (!this.#giveBack(moveId)) return;
    this.#finished.set(moveId, 'expired');
    this.#ctx.counters.add('endpoint_reservations_expired_total');
  }
}

/** A level is fixed at SYN: what was acknowledged at a lower one is on one machine alone. */
function assertLevels(image: SessionImage, to: Reservation, protection: Protection | undefined): void {
  const isProtected = image.protection !== undefined;
  const { level } = to.listener.protection ?? { level: 'none' };
  const canBe = level === 'commit' && protection !== undefined;
  if (isProtected === canBe) return;
  throw new RestitchError(
    'app_refused',
    `listener ${to.listenerName} is at level ${level} here, the session is ${isProtected ? '' : 'not '}protected by commits`,
  );
}

/** The access point thought that no application was needed: the image says whether that is so. */
function assertAccepted(image: SessionImage, listener: AcceptingListener): void {
  if (image.closing !== undefined || listener.accepts(image.app)) return;
  throw new RestitchError('app_refused', `${image.app.name} ${image.app.version} is not accepted here`);
}

function assertFits(image: SessionImage, reservation: Reservation): void {
  const { sessionId, flow, epoch, listenerName, moveId } = reservation;
  if (
    image.sessionId !== sessionId ||
    image.epoch !== epoch ||
    image.listener !== listenerName ||
    formatFlow(image.flow) !== formatFlow(flow)
  ) {
    throw new RestitchError(
      'forbidden',
      `move ${moveId}: the image is of another session than the reserved ${sessionId}`,
    );
  }
}

function stale(sessionId: string, epoch: number, known: number): RestitchError {
  return new RestitchError(
    'stale_epoch',
    `session ${sessionId}: epoch ${epoch} does not fit, ${known} is known`,
    {
      details: { epoch, known },
    },
  );
}
