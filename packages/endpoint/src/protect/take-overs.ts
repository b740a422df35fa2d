/** Sessions of dead endpoints go on here: a replica becomes a socket, and then a session or an honest reset. */
import { addSeq, type Flow, formatFlow, RestitchError, toRestitchError } from '@restitch/core';
import type { ReplyTo, SessionReport, TcpImage, ToEndpoint } from '@restitch/wire/internal';
import { attachWitness } from '@restitch/guard/internal';
import type { BuddyStore, GuardControl, GuardPins, Witness } from '@restitch/guard/internal';
import { describeImage } from '../tcp/describe-image.js';
import { activateSocket, imageFromCheckpoint, thawSocket, uncapTimeouts } from '../tcp/index.js';
import { decodeOpening } from '@restitch/wire/internal';
import { type PeriodicReplica, PeriodicTakeOvers } from './periodic-take-over.js';
import type { SafeState } from './protected-session.js';
import type { ProtectedListener, ProtectionContext, TakenSession } from './protection.js';
import { imageOf } from './replica-image.js';
import { closeSilently, resetClient } from './client-witness.js';
import { identifyClient, locateOther } from './returned-client.js';
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
  /** True while what this host sends for guarded flows leaves it. */
  readonly isLeased: () => boolean;
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
  /** Sessions whose socket stands and whose application does not have them yet, by id. */
  readonly #taking = new Map<string, SessionReport>();
  /** What is being taken over now belongs to this process as long as this is the same. */
  #life = {};

  constructor(context: ProtectionContext, host: TakeOverHost) {
    this.#ctx = context;
    this.#host = host;
    this.#periodic = new PeriodicTakeOvers(context);
  }

  /** True for a session that was taken over and that its application does not have yet. */
  isTaking(flow: Flow): boolean {
    return [...this.#taking.values()].some((taking) => formatFlow(taking.flow) === formatFlow(flow));
  }

  /** What is said of them to an access point that has not heard of their take-over: that they are served. */
  reports(): SessionReport[] {
    return [...this.#taking.values()];
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
    // Whether all of it lies in the client's window nobody here knows, and where it does not the cap would end it.
    if (tcp.sentBytes > 0) uncapTimeouts(pending.fd);
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
    const { flow, openedAtMs } = opening;
    this.#taking.set(sessionId, { id: sessionId, flow, epoch, phase: 'live', openedAtMs });
    const thawed = { moveId, image, state, epoch, source: owner, taken };
    if (opening.level === 'commit') {
      const whole = { ...thawed, socket: activateSocket(pending) };
      void (request.isClientInDoubt === true
        ? this.#serveIfSame(listener, whole)
        : this.#serve(listener, whole));
    } else void this.#ask(listener, { pending, replica, opening, epoch, thawed });
    this.#ctx.counters.add('endpoint_take_overs_total');
    const what = { owner, closing: safe?.closing, ...describeImage(sessionId, opening.flow, epoch, tcp) };
    this.#ctx.logger.debug(what, 'session taken over');
    return { takeOverUs: Math.round((this.#ctx.clock.monotonicMs() - startMs) * 1000), commit: replica.n };
  }

  /** This process was declared dead: what it was about to serve is somebody else's, and goes without a packet. */
  cancel(): void {
    this.#life = {};
    this.#taking.clear();
  }

  async #serve(listener: ProtectedListener, thawed: TakenSession): Promise<void> {
    const { image, epoch } = thawed;
    const life = this.#life;
    try {
      const socket = await settleTakenSocket(thawed.socket, image.flow, {
        clock: this.#ctx.clock,
        logger: this.#ctx.logger,
        isTail: image.closing !== undefined,
        isLeased: this.#host.isLeased,
        isCancelled: () => this.#life !== life,
        attachWitness: (fd) => this.#attachWitness(fd, image.tcp),
        onFailed: () => void this.#host.guard().allowReset(image.flow, epoch),
      });
      if (socket === undefined) return;
      listener.resume({ ...thawed, socket } as TakenSession);
    } catch (error) {
      this.#ctx.counters.add('endpoint_take_overs_failed_total');
      const failure = toRestitchError(error);
      const { sessionId: id, flow } = thawed.image;
      this.#ctx.logger.error({ session: id }, failure.message);
      // The access point takes it for served.
      this.#ctx.tell({ t: 'ended', sessions: [{ id, flow, epoch: thawed.epoch, reason: failure.code }] });
    } finally {
      if (this.#life === life) this.#taking.delete(image.sessionId);
    }
  }

  /** It only listens: nothing that the client says contradicts. */
  #attachWitness(fd: number, { rcvNxt, writeSeq }: TcpImage): Witness {
    const farAhead = 1 << 30;
    return attachWitness(this.#needPins(), fd, {
      clientSeq: addSeq(rcvNxt, farAhead),
      writeSeq: addSeq(writeSeq, farAhead),
    });
  }

  /** Its client was reset by itself, or by somebody in its name: it is served unless it has another connection by now. */
  async #serveIfSame(listener: ProtectedListener, thawed: TakenSession): Promise<void> {
    const { image, epoch, socket } = thawed;
    const { sessionId: id, flow } = image;
    const life = this.#life;
    const identity = await identifyClient(socket.fd, this.#ctx.clock);
    if (this.#life !== life) return closeSilently(socket.fd);
    if (identity !== 'other') return this.#serve(listener, thawed);
    this.#host.guard().allowReset(flow, epoch);
    const { clock } = this.#ctx;
    const stand = await locateOther(socket.fd, this.#needPins(), clock);
    const { template } = thawed.taken.opening;
    if (stand !== undefined) resetClient({ flow, template, ...stand }, clock.wallMs());
    this.#host.removeLater(flow, epoch, id);
    this.#taking.delete(id);
    this.#ctx.counters.add('endpoint_take_overs_reset_returned_total');
    this.#ctx.logger.warn({ session: id }, 'session is over: its client has another connection by now');
    this.#ctx.tell({ t: 'ended', sessions: [{ id, flow, epoch, reason: 'client_returned' }] });
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
