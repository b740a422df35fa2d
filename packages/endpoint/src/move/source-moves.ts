/**
 * The source's half of moves: a safe point, the freeze, the image, and then either serving on or letting go.
 *
 * Only the step from the last look at the session to the sent image is critical, and that is one synchronous call:
 * no packet, timer or application code can come between.
 */
import { type Clock, type Counters, type Logger, RestitchError, toRestitchError } from '@restitch/core';
import {
  type SessionReport,
  type ToEndpoint,
  encodeImage,
  type ReplyTo,
  assertOffered,
  plainImageNeeds,
} from '@restitch/wire/internal';
import type { Channel } from '@restitch/channel';
import { closeFd, threadCpuNs } from '@restitch/sys';
import { type SessionTable, toReport } from '../session-table.js';
import type { Protection } from '../protect/protection.js';
import { SocketCarrier, adoptSocket } from '../session/socket-carrier.js';
import { isUnderTls } from '../session/node-handle.js';
import { assertPlainData } from '../session/plain-data.js';
import type { FreezeHook } from '../session/move-guards.js';
import type { Session } from '../session/session.js';
import {
  type SocketInspection,
  discardFrozenSocket,
  freezeSocket,
  inspectSocket,
  isOutOfOrderLikely,
  unfreezeSocket,
} from '../tcp/index.js';
import { describeImage } from '../tcp/describe-image.js';
import { FinishedMoves } from './finished-moves.js';
import type { StateTarget } from './state-pool.js';
import { withDeadline } from './with-deadline.js';

type Request<T extends ToEndpoint['t']> = Extract<ToEndpoint, { t: T }>;

interface SourceMove {
  readonly moveId: string;
  readonly session: Session;
  readonly target: StateTarget;
  /** Pins and busy tokens do not hinder it. */
  readonly isForced: boolean;
  phase: 'preparing' | 'prepared' | 'freezing' | 'frozen';
  /** Epoch the target will have; 0 before the freeze. */
  epoch: number;
  fd: number;
  /** onFreeze hooks have run, onThaw hooks have not. */
  areHooksOpen: boolean;
  /** Nothing but a descriptor of it was left here. */
  wasKept: boolean;
  /** Segments were seen out of order: until then the client may fill the gap. CLOCK_MONOTONIC. */
  orderUntilMs: number | undefined;
  /** Forgets a move that was prepared and then never asked for. */
  cancelExpiry: () => void;
}

/** What the source's half needs. */
export interface SourceContext {
  readonly table: SessionTable;
  readonly app: { readonly name: string; readonly version: string };
  readonly openState: (target: StateTarget) => Promise<Channel>;
  readonly protection: () => Protection | undefined;
  /** The same, if it stands already. */
  readonly readyState: (target: StateTarget) => Channel | undefined;
  readonly maxImageBytes: number;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
}

/** A prepared move whose freeze does not come is forgotten after this long: the daemon has died or given it up. */
const preparedExpiryMs = 30_000;

/** Shortest retransmission timeout of Linux. */
const minRtoMs = 200;

/**
 * How long a gap in what was received may be waited for. A client that fills it by fast retransmission does so within two
 * round trips; where that was lost as well, its timeout fills it, and a move that waited has cost it nothing.
 */
function orderWaitMs(rttUs: number): number {
  return (2 * rttUs) / 1000 + minRtoMs;
}

/** Waiting for busy tokens with packets held costs the client time: a short wait, then the access point backs off. */
const maxBusyWaitMs = 5;

/** Moves away from here. */
export class SourceMoves {
  readonly #ctx: SourceContext;
  readonly #moves = new Map<string, SourceMove>();
  readonly #bySession = new Map<string, SourceMove>();
  readonly #finished = new FinishedMoves<'reverted' | 'released' | 'ended'>();

  constructor(context: SourceContext) {
    this.#ctx = context;
  }

  /** Checks, waits for a safe point, opens the state connection. Rejects with the reason of the refusal. */
  async prepare(request: Request<'prepare'>): Promise<ReplyTo<'prepare'>> {
    const session = this.#ctx.table.need(request.sessionId);
    const known = this.#bySession.get(session.id);
    if (known !== undefined && known.moveId !== request.moveId) {
      throw new RestitchError('session_moving', `session ${session.id} is in move ${known.moveId}`);
    }
    if (known !== undefined) {
      if (known.phase === 'prepared') return {};
      throw new RestitchError(
        'message_invalid',
        `move ${request.moveId} is ${known.phase}, not to be prepared`,
      );
    }
    const isForced = request.force === true;
    assertMovable(session, isForced);
    const { name: target, features } = request.target;
    assertOffered(plainImageNeeds, features, { session: session.id, target });
    const move = this.#begin(request, session);
    const deadlineMs = this.#ctx.clock.monotonicMs() + request.budgetMs;
    try {
      // Once a move: it asks the kernel's list of sockets, too.
      const { rttUs } = inspect(session);
      await this.#ctx.openState(request.target);
      await this.#waitSafe(move, rttUs, deadlineMs);
      if (this.#moves.get(move.moveId) !== move) throw givenUp(move);
      assertMovable(session, isForced);
      move.phase = 'prepared';
      return {};
    } catch (error) {
      this.#forget(move);
      throw error;
    }
  }

  /**
   * Freezes and sends the image, in the same turn unless there is something to wait for. Throws or rejects with the
   * session served on in place.
   */
  freeze(request: Request<'freeze'>): ReplyTo<'freeze'> | Promise<ReplyTo<'freeze'>> {
    const move = this.#need(request.moveId);
    const { session } = move;
    if (move.phase !== 'prepared') {
      throw new RestitchError('message_invalid', `move ${move.moveId} is ${move.phase}, not prepared`);
    }
    assertHigherEpoch(session, request.epoch);
    // Usually the one that prepare opened; it may have broken since.
    const channel = this.#ctx.readyState(move.target);
    if (channel === undefined || !isAtSafePoint(session)) return this.#freezeLater(move, request);
    assertMovable(session, move.isForced);
    this.#waitForOrder(move);
    return this.#freezeNow(move, request.epoch, channel);
  }

  async #freezeLater(move: SourceMove, request: Request<'freeze'>): Promise<ReplyTo<'freeze'>> {
    move.phase = 'freezing';
    try {
      await this.#reachSafePoint(move, request.budgetMs);
      this.#waitForOrder(move);
      const channel = await withDeadline(
        this.#ctx.openState(move.target),
        request.budgetMs / 2,
        this.#ctx.clock,
        'state connection',
      );
      if (this.#moves.get(move.moveId) !== move) throw givenUp(move);
      return this.#freezeNow(move, request.epoch, channel);
    } catch (error) {
      if (move.phase === 'freezing') move.phase = 'prepared';
      this.#runThawHooks(move);
      throw error;
    }
  }

  /** Serves again in place; a move not yet frozen is called off. */
  revert(request: Request<'revert'>): ReplyTo<'revert'> {
    const move = this.#moves.get(request.moveId);
    if (move === undefined) {
      if (this.#finished.get(request.moveId) === 'released') {
        throw new RestitchError('stale_epoch', `move ${request.moveId}: the session was released already`);
      }
      return { wasFrozen: false };
    }
    const wasFrozen = move.phase === 'frozen';
    this.#forget(move);
    this.#finished.set(move.moveId, 'reverted');
    if (!wasFrozen) return { wasFrozen };
    try {
      unfreezeSocket(move.fd);
      this.#serveAgain(move);
    } catch (cause) {
      this.#lose(move, toRestitchError(cause, 'freeze_failed'));
    }
    this.#runThawHooks(move);
    this.#ctx.counters.add('endpoint_moves_reverted_total');
    return { wasFrozen };
  }

  /** Drops the frozen socket in silence: the target serves. */
  release(request: Request<'release'>): ReplyTo<'release'> {
    if (this.#finished.get(request.moveId) === 'released') return {};
    const move = this.#need(request.moveId);
    if (move.phase !== 'frozen') {
      throw new RestitchError(
        'message_invalid',
        `move ${move.moveId} is ${move.phase}, not frozen: not released`,
      );
    }
    this.#forget(move);
    this.#finished.set(move.moveId, 'released');
    this.#ctx.protection()?.moves.movedAway(move.session);
    discardFrozenSocket(move.fd);
    this.#ctx.table.remove(move.session, move.epoch);
    move.session.leave(move.target.name);
    this.#ctx.counters.add('endpoint_moves_released_total');
    return {};
  }

  /** A frozen session has another owner, by a take-over: what is left here goes without a packet. */
  letGo(sessionId: string): void {
    const move = this.#bySession.get(sessionId);
    if (move?.phase !== 'frozen') return;
    this.#forget(move);
    this.#finished.set(move.moveId, 'released');
    discardFrozenSocket(move.fd);
    this.#ctx.table.remove(move.session, move.session.epoch);
    move.session.leave('fenced');
    this.#ctx.counters.add('endpoint_frozen_dropped_total');
  }

  /** Calls off what is not frozen yet, after the access point was lost. Frozen sessions wait. */
  dropUnfrozen(): void {
    for (const move of this.#moves.values()) if (move.phase !== 'frozen') this.#forget(move);
  }

  /** The session's end ends its move, unless it is frozen. */
  onSessionClosed(session: Session): void {
    const move = this.#bySession.get(session.id);
    if (move === undefined || move.phase === 'frozen') return;
    this.#forget(move);
    this.#finished.set(move.moveId, 'ended');
  }

  /** How a session stands, for announcing. */
  report(session: Session): SessionReport {
    const move = this.#bySession.get(session.id);
    if (move?.phase !== 'frozen') return toReport(session);
    return { ...toReport(session), phase: 'frozen', moveId: move.moveId };
  }

  #begin(request: Request<'prepare'>, session: Session): SourceMove {
    const move: SourceMove = {
      moveId: request.moveId,
      session,
      target: request.target,
      isForced: request.force === true,
      phase: 'preparing',
      epoch: 0,
      fd: -1,
      areHooksOpen: false,
      wasKept: false,
      orderUntilMs: undefined,
      cancelExpiry: this.#ctx.clock.after(preparedExpiryMs + request.budgetMs, () => {
        if (move.phase !== 'frozen') this.#forget(move);
      }),
    };
    this.#moves.set(move.moveId, move);
    this.#bySession.set(session.id, move);
    return move;
  }

  #forget(move: SourceMove): void {
    move.cancelExpiry();
    if (this.#moves.get(move.moveId) === move) this.#moves.delete(move.moveId);
    if (this.#bySession.get(move.session.id) === move) this.#bySession.delete(move.session.id);
  }

  #need(moveId: string): SourceMove {
    const move = this.#moves.get(moveId);
    if (move !== undefined) return move;
    if (this.#finished.get(moveId) === 'ended') {
      throw new RestitchError('unknown_session', `move ${moveId}: its session has ended`, {
        details: { moveId },
      });
    }
    throw new RestitchError('message_invalid', `no move ${moveId} was prepared here`, {
      details: { moveId },
    });
  }

  /** Busy tokens given back, and nothing received out of order (which no image can carry) for as long as that can help. */
  async #waitSafe(move: SourceMove, rttUs: number, deadlineMs: number): Promise<void> {
    const { clock } = this.#ctx;
    const { session } = move;
    if (!move.isForced) await waitIdle(session, deadlineMs - clock.monotonicMs(), clock);
    const untilMs = Math.min(deadlineMs, clock.monotonicMs() + orderWaitMs(rttUs));
    while (session.fd >= 0 && isOutOfOrderLikely(session.fd) && clock.monotonicMs() < untilMs) {
      await new Promise<void>((resolve) => clock.after(1, resolve));
    }
  }

  async #reachSafePoint(move: SourceMove, budgetMs: number): Promise<void> {
    const { session } = move;
    if (!move.isForced) await waitIdle(session, Math.min(maxBusyWaitMs, budgetMs / 4), this.#ctx.clock);
    if (session.guards.freezeHooks.length > 0 && !session.isThrough) {
      move.areHooksOpen = true;
      await withDeadline(
        runHooks(session.guards.freezeHooks),
        budgetMs / 2,
        this.#ctx.clock,
        'onFreeze hooks',
      );
      if (session.busyReason !== undefined && !move.isForced) throw busy(session);
    }
    assertMovable(session, move.isForced);
  }

  /**
   * Segments behind a gap would have to be resent after a timeout. `session_busy` lets the client fill the gap first: the
   * access point lets packets through again and comes back.
   */
  #waitForOrder(move: SourceMove): void {
    const { session } = move;
    if (session.fd < 0 || !isOutOfOrderLikely(session.fd)) return;
    const nowMs = this.#ctx.clock.monotonicMs();
    move.orderUntilMs ??= nowMs + orderWaitMs(inspect(session).rttUs);
    if (nowMs >= move.orderUntilMs) {
      this.#ctx.counters.add('endpoint_freezes_out_of_order_total');
      return;
    }
    throw new RestitchError('session_busy', `session ${session.id}: segments wait for a lost one`);
  }

  #freezeNow(move: SourceMove, epoch: number, channel: Channel): ReplyTo<'freeze'> {
    const { session } = move;
    const { clock, counters } = this.#ctx;
    const startMs = clock.monotonicMs();
    const startCpuNs = threadCpuNs();
    move.wasKept = session.isKept;
    const half = session.freeze();
    move.fd = half.fd;
    let isFrozen = false;
    try {
      // A callback that the freeze ran may have ended it.
      if (session.destroyed && half.closing === undefined) throw givenUp(move);
      const { tcp } = freezeSocket(half.fd, { timers: session.kernelTimers });
      isFrozen = true;
      const parts = this.#ctx.protection()?.moves.freeze(session, half, tcp, move.target.name);
      const image = encodeImage(
        {
          sessionId: session.id,
          epoch,
          flow: session.flow,
          listener: session.listener,
          app: this.#ctx.app,
          state: session.state,
          tcp,
          unread: half.unread,
          unwritten: half.unwritten,
          endPending: half.outputEnded && !tcp.finSent,
          outputEnded: half.outputEnded,
          inputEnded: half.inputEnded,
          openedAtMs: session.openedAtMs,
          moves: session.moves + 1,
          bytesRead: session.bytesRead,
          bytesWritten: session.bytesWritten,
          ...(half.closing === undefined ? {} : { closing: half.closing }),
          ...parts?.image,
        },
        this.#ctx.maxImageBytes,
      );
      channel.sendUrgently({ t: 'image', moveId: move.moveId, epoch, image });
      move.phase = 'frozen';
      move.epoch = epoch;
      counters.add('endpoint_freezes_total');
      this.#ctx.logger.debug(
        { moveId: move.moveId, ...describeImage(session.id, session.flow, epoch, tcp) },
        'session frozen',
      );
      return {
        imageBytes: image.length,
        ...(parts === undefined ? {} : { deltaBytes: parts.deltaBytes, toBuddy: parts.isToBuddy ? 1 : 0 }),
        freezeUs: Math.round((clock.monotonicMs() - startMs) * 1000),
        freezeCpuUs: Math.round((threadCpuNs() - startCpuNs) / 1000),
      };
    } catch (error) {
      counters.add('endpoint_freezes_failed_total');
      if (isFrozen) unfreezeSocket(half.fd);
      this.#serveAgain(move);
      throw toRestitchError(error, 'freeze_failed');
    }
  }

  #serveAgain(move: SourceMove): void {
    const { session, fd } = move;
    move.fd = -1;
    if (move.wasKept) {
      session.keep(fd);
      this.#ctx.protection()?.moves.unfreezeTail(session);
      return;
    }
    const protection = this.#ctx.protection();
    if (protection === undefined) session.attach(new SocketCarrier(adoptSocket(fd), session.carrierEvents));
    else protection.moves.unfreeze(session, adoptSocket(fd));
  }

  /** The kernel does not give the socket back: the session ends here, and says why. */
  #lose(move: SourceMove, error: RestitchError): never {
    if (move.fd >= 0) closeFd(move.fd);
    move.session.lose(error);
    this.#ctx.counters.add('endpoint_sessions_lost_total');
    throw error;
  }

  #runThawHooks(move: SourceMove): void {
    const { session, areHooksOpen } = move;
    move.areHooksOpen = false;
    if (!areHooksOpen || session.phase !== 'live' || session.guards.thawHooks.length === 0) return;
    runHooks(session.guards.thawHooks).catch((error: unknown) => session.destroy(toRestitchError(error)));
  }
}

/** Runs hooks in order. */
export async function runHooks(hooks: readonly FreezeHook[]): Promise<void> {
  for (const hook of hooks) await hook();
}

async function waitIdle(session: Session, waitMs: number, clock: Clock): Promise<void> {
  if (session.busyReason === undefined) return;
  if (session.closing === undefined) {
    await withDeadline(session.guards.whenIdle(), Math.max(0, waitMs), clock, 'busy tokens').catch(
      () => undefined,
    );
  }
  if (session.busyReason !== undefined) throw busy(session);
}

/** Nothing in hand and no hook: it may be frozen as it is. */
function isAtSafePoint(session: Session): boolean {
  if (session.busyReason !== undefined) return false;
  return session.isThrough || session.guards.freezeHooks.length === 0;
}

function busy(session: Session): RestitchError {
  return new RestitchError('session_busy', `session ${session.id}: ${session.busyReason ?? 'busy'}`);
}

function givenUp(move: SourceMove): RestitchError {
  return new RestitchError('freeze_failed', `move ${move.moveId} was called off, or its session ended`);
}

/** What the kernel says of its socket; throws as `inspectSocket`, and `unknown_session` if there is none any more. */
function inspect(session: Session): SocketInspection {
  const { fd } = session;
  if (fd < 0) throw new RestitchError('unknown_session', `session ${session.id} has ended`);
  return inspectSocket(fd);
}

/** Everything that can be said before the socket itself is looked at. */
function assertMovable(session: Session, isForced: boolean): void {
  if (session.closing !== undefined && session.fd >= 0) return;
  if (session.phase !== 'live') {
    throw new RestitchError('unknown_session', `session ${session.id} has ended`);
  }
  if (session.pinned !== undefined && !isForced) {
    throw new RestitchError('session_pinned', `session ${session.id} is pinned: ${session.pinned}`, {
      details: { reason: session.pinned },
    });
  }
  if (isUnderTls(session)) {
    throw new RestitchError(
      'socket_unsupported',
      `session ${session.id}: a TLSSocket runs on it, whose keys do not travel; end TLS before the endpoint`,
      { details: { reason: 'tls', remedy: 'end TLS before the endpoint' } },
    );
  }
  try {
    assertPlainData(session.state, 'session.state');
  } catch (cause) {
    throw new RestitchError('freeze_failed', `session ${session.id}: ${(cause as Error).message}`, { cause });
  }
}

function assertHigherEpoch(session: Session, epoch: number): void {
  if (epoch > session.epoch) return;
  throw new RestitchError(
    'stale_epoch',
    `session ${session.id}: epoch ${epoch} is not above ${session.epoch}`,
    {
      details: { epoch, known: session.epoch },
    },
  );
}
