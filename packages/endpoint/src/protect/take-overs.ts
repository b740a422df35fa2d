/** Sessions of dead endpoints go on here: a replica becomes a socket, and then a session or an honest reset. */
import { addSeq, type Flow, formatFlow, RestitchError, toRestitchError } from '@restitch/core';
import type { ToEndpoint, ReplyTo } from '@restitch/wire/internal';
import type { BuddyStore, GuardControl, GuardPins } from '@restitch/guard/internal';
import { describeImage } from '../tcp/describe-image.js';
import { activateSocket, imageFromCheckpoint, thawSocket } from '../tcp/index.js';
import { decodeOpening } from '@restitch/wire/internal';
import { type PeriodicReplica, PeriodicTakeOvers } from './periodic-take-over.js';
import type { SafeState } from './protected-session.js';
import type { ProtectedListener, ProtectionContext, TakenSession } from './protection.js';
import { imageOf } from './replica-image.js';
import { settleTakenSocket } from './take-over.js';

type TakeOverRequest = Extract<ToEndpoint, { t: 'take-over' }>;

/** Wall clocks of two hosts differ by less; each owner's begins so much ahead of the one before. */
const ownerLeadMs = 1000;

/** What taking over needs of the protection it belongs to. */
export interface TakeOverHost {
  readonly store: BuddyStore;
  readonly guard: () => GuardControl;
  readonly pins: () => GuardPins | undefined;
  readonly lease: () => number;
  /** Epoch of a session that is served here. */
  readonly servedEpoch: (sessionId: string) => number | undefined;
  /** The guard forgets the flow when its last packets are surely gone. */
  readonly removeLater: (flow: Flow, epoch: number, sessionId: string) => void;
}

/** The take-overs of one endpoint. */
export class TakeOvers {
  readonly #ctx: ProtectionContext;
  readonly #host: TakeOverHost;
  readonly #periodic: PeriodicTakeOvers;
  /** Epochs of sessions whose socket stands and whose application does not have them yet. */
  readonly #taking = new Map<string, { readonly epoch: number; readonly flow: Flow }>();

  constructor(context: ProtectionContext, host: TakeOverHost) {
    this.#ctx = context;
    this.#host = host;
    this.#periodic = new PeriodicTakeOvers(context);
  }

  /** True for a session that was taken over and that its application does not have yet. */
  isTaking(flow: Flow): boolean {
    return [...this.#taking.values()].some((taking) => formatFlow(taking.flow) === formatFlow(flow));
  }

  /** The record names this endpoint: make the socket, serve. Throws what the access point is told. */
  takeOver(request: TakeOverRequest): ReplyTo<'take-over'> {
    const startMs = this.#ctx.clock.monotonicMs();
    const { owner, sessionId, epoch, moveId } = request;
    // The access point asks again when an answer was lost, and so does a new daemon.
    const isServed = this.#host.servedEpoch(sessionId) === epoch;
    if (isServed || this.#taking.get(sessionId)?.epoch === epoch) return { takeOverUs: 0, isRepeat: true };
    const replica = this.#host.store.takeOver(owner, sessionId, epoch - 1);
    const opening = decodeOpening(replica.opening);
    const listener = this.#ctx.findListener(opening.listener);
    const safe = replica.state as unknown as SafeState | null;
    const isThrough = safe?.closing !== undefined;
    const isEnded = safe?.outputEnded === true && (isThrough || replica.outputAt === replica.outputEnd);
    if (listener === undefined || (!isThrough && !listener.accepts(opening.app))) {
      throw new RestitchError(
        'app_refused',
        `${opening.app.name} ${opening.app.version} is not accepted here`,
      );
    }
    const tcp = imageFromCheckpoint(
      opening.template,
      {
        inputEnd: replica.inputEnd,
        finReceived: replica.fin,
        outputStart: replica.acked,
        output: replica.output,
        skipped: replica.skipped,
        isEnded,
      },
      // Each owner's clock begins a little ahead of the one before: PAWS drops what comes from the past.
      this.#ctx.clock.wallMs() + ownerLeadMs * (epoch - 1),
    );
    const image = imageOf(replica, opening, epoch, tcp);
    const state = isThrough ? image.state : listener.upgradeState(image);
    // A planned move may have left a copy of it here, frozen or rebuilt: the flow has room for one socket.
    this.#ctx.dropCopies(sessionId);
    const pending = thawSocket(tcp, opening.flow);
    this.#host.guard().register(opening.flow, {
      session: sessionId,
      epoch,
      level: opening.level,
      lease: this.#host.lease(),
      committed: (tcp.rcvNxt + (replica.fin ? 1 : 0)) >>> 0,
      sentEnd: addSeq(tcp.writeSeq, isEnded ? 1 : 0),
      windowScale: opening.template.rcvWscale,
      finSeq: isEnded ? tcp.writeSeq : undefined,
    });
    const { state: safeState, consumed, input, fin, acked, output, outputAt, skipped } = replica;
    const commit = opening.commitBase + replica.n;
    const continued = {
      state: safeState,
      consumed,
      input,
      fin,
      acked,
      output,
      outputAt,
      skipped,
      outputEnded: isEnded,
    };
    const taken = { commit, continued, opening };
    this.#taking.set(sessionId, { epoch, flow: opening.flow });
    const thawed = { moveId, image, state, epoch, source: owner, taken };
    if (opening.level === 'commit')
      void this.#serve(listener, { ...thawed, socket: activateSocket(pending) });
    else void this.#ask(listener, { pending, replica, opening, epoch, thawed });
    this.#ctx.counters.add('endpoint_take_overs_total');
    const what = { owner, closing: safe?.closing, ...describeImage(sessionId, opening.flow, epoch, tcp) };
    this.#ctx.logger.debug(what, 'session taken over');
    return { takeOverUs: Math.round((this.#ctx.clock.monotonicMs() - startMs) * 1000), commit: replica.n };
  }

  async #serve(listener: ProtectedListener, thawed: TakenSession): Promise<void> {
    try {
      const { image, epoch } = thawed;
      const socket = await settleTakenSocket(thawed.socket, image.flow, {
        clock: this.#ctx.clock,
        isTail: image.closing !== undefined,
        onFailed: () => void this.#host.guard().allowReset(image.flow, epoch),
      });
      listener.resume({ ...thawed, socket } as TakenSession);
    } catch (error) {
      this.#ctx.counters.add('endpoint_take_overs_failed_total');
      const failure = toRestitchError(error);
      const { sessionId: id, flow } = thawed.image;
      this.#ctx.logger.error({ session: id }, failure.message);
      // The access point takes it for served.
      this.#ctx.tell({ t: 'ended', sessions: [{ id, flow, epoch: thawed.epoch, reason: failure.code }] });
    } finally {
      this.#taking.delete(thawed.image.sessionId);
    }
  }

  /** Level periodic: the client is served only if it says that nothing has passed since the checkpoint. */
  async #ask(
    listener: ProtectedListener,
    asked: PeriodicReplica & { readonly thawed: Omit<TakenSession, 'socket'> },
  ): Promise<void> {
    const { sessionId, flow } = asked.thawed.image;
    try {
      const socket = await this.#periodic.decide(asked, this.#needPins(), this.#host.guard());
      if (socket !== undefined)
        return await this.#serve(listener, { ...asked.thawed, socket } as TakenSession);
      this.#host.removeLater(flow, asked.epoch, sessionId);
    } catch (error) {
      this.#ctx.counters.add('endpoint_take_overs_failed_total');
      this.#ctx.logger.error({ session: sessionId }, toRestitchError(error).message);
    }
    this.#taking.delete(sessionId);
  }

  #needPins(): GuardPins {
    const pins = this.#host.pins();
    if (pins === undefined) throw new RestitchError('internal', 'the host agent was not joined');
    return pins;
  }
}
