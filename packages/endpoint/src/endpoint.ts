/**
 * One endpoint process: its sessions, its listeners, its connection to the access point and to other endpoints.
 *
 * Several listeners share one control connection, because the access point knows processes, not ports.
 */
import { EventEmitter } from 'node:events';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { ChannelListener } from '@restitch/channel';
import { formatFlow, type SocketAddress, toRestitchError } from '@restitch/core';
import type { SessionReport, ToEndpoint, Reply } from '@restitch/wire/internal';
import { imageFeatures, toFailure } from '@restitch/wire/internal';
import { ControlLink } from './control/control-link.js';
import { RequestHandler } from './control/request-handler.js';
import { SourceMoves } from './move/source-moves.js';
import { type StateListenerOptions, listenState } from './move/state-listener.js';
import type { LostSession } from './protect/periodic-take-over.js';
import { Protection } from './protect/protection.js';
import { type AppReport, Telemetry } from './telemetry/telemetry.js';
import { StatePool } from './move/state-pool.js';
import { TargetMoves } from './move/target-moves.js';
import {
  type EndpointOptions,
  type ResolvedEndpointOptions,
  type ServerOptions,
  resolveEndpointOptions,
} from './options.js';
import { type ConnectionListener, Server } from './server.js';
import { type LeftBehind, Leaving } from './leaving.js';
import { SessionTable, toReport } from './session-table.js';
import { ClosingSessions } from './session/closing-sessions.js';
import { readResidue, type Residue } from './tcp/kernel-sockets.js';
import { type MigrateOptions, type MigrateOutcome, SelfMoves } from './session/self-moves.js';
import type { Session } from './session/session.js';

/** An image is at most `maxImageBytes`; its message is a little larger. */
const messageOverheadBytes = 4096;

const loopDelayResolutionMs = 20;

/** What an application can hear of the endpoint itself. */
export type EndpointStatus =
  | { readonly t: 'connected'; readonly accessPoint: string }
  | { readonly t: 'disconnected'; readonly reason: string }
  /** A session of a dead endpoint could not go on here, and its client was reset: what is left of it. */
  | { readonly t: 'session-lost'; readonly session: LostSession }
  /** The operator drains this endpoint: its sessions are being moved away. */
  | { readonly t: 'draining'; readonly on: boolean };

/**
 * One endpoint process. Emits 'status' with an EndpointStatus, and 'close'.
 *
 * What it is to its parts (a `ServerHost`, a `SessionWatcher`) is internal: `implements` would promise it in the shipped types.
 */
export class Endpoint extends EventEmitter<{ status: [EndpointStatus]; close: [] }> {
  /** @internal */
  readonly options: ResolvedEndpointOptions;
  /** @internal */
  readonly table = new SessionTable();
  readonly #servers = new Map<string, Server>();
  readonly #link: ControlLink;
  readonly #source: SourceMoves;
  readonly #target: TargetMoves;
  readonly #pool: StatePool;
  readonly #requests: RequestHandler;
  readonly #telemetry: Telemetry;
  readonly #selfMoves: SelfMoves;
  readonly #closings: ClosingSessions;
  readonly #leaving: Leaving;
  /** @internal */
  readonly protection: Protection | undefined;
  readonly #loopDelay: IntervalHistogram = monitorEventLoopDelay({ resolution: loopDelayResolutionMs });
  #stateListener: ChannelListener | undefined;
  #starting: Promise<void> | undefined;
  #isClosing = false;

  /** @internal */
  constructor(options: EndpointOptions) {
    super();
    this.options = resolveEndpointOptions(options);
    const { app, name, tls, clock, counters, logger, maxImageBytes, capacitySessions } = this.options;
    const maxMessageBytes = maxImageBytes + messageOverheadBytes;
    this.#pool = new StatePool({ name, tls, maxMessageBytes, clock, counters, logger });
    this.#source = new SourceMoves({
      table: this.table,
      app: { name: app.name, version: app.version },
      openState: (target) => this.#pool.open(target),
      protection: () => this.protection,
      readyState: (target) => this.#pool.ready(target),
      maxImageBytes,
      clock,
      counters,
      logger,
    });
    this.#target = new TargetMoves({
      table: this.table,
      findListener: (listener) => this.#servers.get(listener),
      tell: (message) => this.#link.tell(message),
      tellUrgently: (message) => this.#link.tellUrgently(message),
      protection: () => this.protection,
      capacitySessions,
      maxImageBytes,
      features: imageFeatures,
      isClosing: () => this.#isClosing,
      clock,
      counters,
      logger,
    });
    const { guard } = this.options;
    this.protection =
      guard === undefined
        ? undefined
        : new Protection({
            name,
            instance: () => this.#link.instance,
            options: guard,
            tls,
            maxMessageBytes,
            app: { name: app.name, version: app.version },
            findListener: (listener) => this.#servers.get(listener),
            tell: (message) => this.#link.tell(message),
            dropCopies: (sessionId) => {
              this.#source.letGo(sessionId);
              this.#target.drop(sessionId);
            },
            onLost: (lost) => {
              const { id, flow, epoch, reason } = lost;
              // The end of a session that is served is told where it closes.
              if (reason !== 'replay')
                this.#link.ended({ id, flow, epoch, reason: `reset after a crash: ${reason}` });
              this.emit('status', { t: 'session-lost', session: lost });
            },
            onFenced: (session) => this.table.remove(session, session.epoch),
            clock,
            counters,
            logger,
          });
    const { table, protection } = this;
    this.#requests = new RequestHandler({
      table,
      source: this.#source,
      target: this.#target,
      protection,
      residue: () => this.residue,
    });
    this.#closings = new ClosingSessions({
      bounds: this.options.closing,
      tell: (message) => this.#link.tell(message),
      clock,
      counters,
      logger,
    });
    this.#leaving = new Leaving({
      clock,
      logger,
      timeoutMs: this.options.stopTimeoutMs,
      tell: (on, deadlineMs) => {
        this.protection?.leaving(on);
        this.#link.leaving(on, deadlineMs);
      },
      sessions: () => ({
        sessions: table.size + this.#target.pendingCount,
        closing: this.#closings.size,
      }),
      residue: () => this.residue,
    });
    this.#link = this.#createLink();
    this.#selfMoves = new SelfMoves({
      clock,
      tell: (message) => this.#link.tell(message),
      isConnected: () => this.#link.isUp,
    });
    this.#telemetry = new Telemetry({
      sessions: table,
      count: () => table.size,
      tell: (message) => this.#link.tell(message),
      queuedBytes: () => this.#link.queuedBytes,
      clock,
      counters,
    });
  }

  /** True while the access point has welcomed this endpoint. */
  get isConnected(): boolean {
    return this.#link.isUp;
  }

  /** The sessions served here. */
  get sessions(): Iterable<Session> {
    return this.table;
  }

  /** Where images are taken; undefined before the first server listens. */
  get stateAddress(): SocketAddress | undefined {
    const listener = this.#stateListener;
    return listener === undefined ? undefined : { address: listener.host, port: listener.port };
  }

  /** Another server of this endpoint, as net.createServer. */
  createServer(options: ServerOptions, onSession?: ConnectionListener): Server;
  createServer(onSession: ConnectionListener): Server;
  createServer(options: ServerOptions | ConnectionListener, onSession?: ConnectionListener): Server {
    if (typeof options === 'function') return new Server(this, {}, options);
    return new Server(this, options, onSession);
  }

  /**
   * The application's own load and the load at which it is full, in its own unit. Say it at least every 10 s; after that
   * it counts as not said. Throws `usage` for what is no number ≥ 0.
   */
  report(figures: AppReport): void {
    this.#telemetry.report(figures);
  }

  /**
   * Moves everything away and waits for what cannot be moved: the way to stop without any client's noticing. New sessions
   * go elsewhere from now on. Resolves when nothing is left, or at the end of the time with what is. Listeners stay: a
   * connection whose handshake was under way is still served.
   */
  drain(options: { readonly timeoutMs?: number } = {}): Promise<LeftBehind> {
    return this.#leaving.drain(options.timeoutMs);
  }

  /** Stops listening; the endpoint closes when its last session has ended or moved away. */
  close(): void {
    this.#isClosing = true;
    for (const server of this.#servers.values()) server.close();
    this.#closeIfDone();
  }

  /** @internal A server listens: from the first one on, this endpoint is there for others. */
  async register(server: Server): Promise<void> {
    this.#servers.set(server.listenerName, server);
    this.#isClosing = false;
    if (this.options.onSigterm === 'drain') this.#leaving.watchSigterm();
    this.#starting ??= this.#start();
    try {
      await this.#starting;
    } catch (error) {
      this.#starting = undefined;
      this.#servers.delete(server.listenerName);
      throw error;
    }
    this.#link.refresh();
  }

  /** @internal */
  unregister(server: Server): void {
    if (this.#servers.get(server.listenerName) !== server) return;
    this.#servers.delete(server.listenerName);
    if (this.#servers.size === 0) this.#isClosing = true;
    // Sessions live on and can be moved away; the access point is to send no new ones.
    if (this.#servers.size > 0 || this.table.size > 0) this.#link.refresh();
    this.#closeIfDone();
  }

  /** @internal A session is served here from now on. */
  sessionOpened(session: Session): void {
    session.watcher = this;
    session.usage.begin(this.options.clock.monotonicMs());
    this.table.add(session);
    if (!session.resumed) this.#link.opened(toReport(session));
  }

  /** @internal */
  confirmed(moveId: string, serverRtos: number): void {
    this.#link.tell({ t: 'confirmed', moveId, serverRtos });
  }

  /** @internal */
  onClosed(session: Session, reason: string): void {
    this.#source.onSessionClosed(session);
    this.table.remove(session, session.epoch);
    const { id, flow, epoch, movedTo } = session;
    this.options.logger.debug(
      { session: id, flow: formatFlow(flow), epoch, reason, movedTo },
      'session ended',
    );
    if (movedTo === undefined) {
      this.#link.ended({ id, flow, epoch, reason: reason.slice(0, 64) });
    }
    this.#closeIfDone();
  }

  /** @internal */
  onEnding(session: Session): void {
    // Whose replica goes on with it ends with its connection; told is what the kernel finishes alone.
    if ((session.closingParty?.finisher ?? 'kernel') === 'kernel') this.#closings.add(session);
  }

  /** @internal */
  onClosing(session: Session): void {
    this.#closings.add(session);
  }

  /** What all sockets of this endpoint's VIPs owe their clients, whoever made them. */
  get residue(): Residue {
    return readResidue([...this.#servers.values()].map((server) => server.vip));
  }

  /** @internal */
  onPinned(session: Session, reason: string | null): void {
    this.#link.tell({ t: 'pinned', id: session.id, reason });
  }

  /** @internal */
  targetOf(session: Session): string | undefined {
    return this.#selfMoves.targetOf(session);
  }

  /** @internal */
  askMove(session: Session, options?: MigrateOptions): Promise<MigrateOutcome> {
    return this.#selfMoves.ask(session, options);
  }

  #createLink(): ControlLink {
    const { name, accessPoint, tls, clock, counters, logger } = this.options;
    return new ControlLink({
      accessPoint,
      tls,
      clock,
      counters,
      logger,
      hello: () => this.#hello(),
      reports: () => this.#reports(),
      onRequest: (message) => this.#onRequest(message),
      onUp: (by, telemetry) => {
        this.#telemetry.start(telemetry);
        this.protection?.replication.tellAllBuddies();
        this.#closings.told();
        this.emit('status', { t: 'connected', accessPoint: by });
      },
      onDown: (reason) => {
        this.#telemetry.stop();
        this.#selfMoves.linkLost();
        logger.warn({ endpoint: name }, `access point lost: ${reason?.message ?? 'closed'}`);
        this.#source.dropUnfrozen();
        this.emit('status', { t: 'disconnected', reason: reason?.message ?? 'closed' });
      },
      vitals: () => this.#vitals(),
      onBeat: (n) => this.protection?.beat(n),
      gauges: () => this.protection?.summary ?? {},
    });
  }

  async #start(): Promise<void> {
    const { name, tls, stateAddress, maxImageBytes, counters, logger } = this.options;
    const options: StateListenerOptions = {
      name,
      tls,
      ...stateAddress,
      maxMessageBytes: maxImageBytes + messageOverheadBytes,
      takeImage: (source, incoming) => this.#target.takeImage(source, incoming),
      takeReplication:
        this.protection === undefined ? undefined : (channel, raw) => this.protection?.receive(channel, raw),
      counters,
      logger,
    };
    await this.protection?.start();
    this.#stateListener = await listenState(options);
    this.#loopDelay.enable();
  }

  #hello(): ReturnType<ConstructorParameters<typeof ControlLink>[0]['hello']> {
    const { name, app, dataAddress, capacitySessions } = this.options;
    return {
      name,
      app: { name: app.name, version: app.version },
      stateAddress: this.stateAddress ?? { address: dataAddress, port: 1 },
      dataAddress,
      listeners: [...this.#servers.values()].map((server) => ({
        name: server.listenerName,
        vip: server.vip,
      })),
      features: [...imageFeatures],
      capacitySessions,
      ...(this.options.guard === undefined
        ? {}
        : { protection: { labels: { ...this.options.guard.labels } } }),
    };
  }

  #reports(): SessionReport[] {
    const own = [...this.table].map((session) => this.#source.report(session));
    return [...own, ...this.#target.reports(), ...(this.protection?.takeOvers.reports() ?? [])];
  }

  #vitals(): { sessions: number; eventLoopDelayMs: number } {
    const delayMs = this.#loopDelay.percentile(99) / 1e6 - loopDelayResolutionMs;
    this.#loopDelay.reset();
    return {
      sessions: this.table.size,
      eventLoopDelayMs: Number.isFinite(delayMs) ? Math.max(0, delayMs) : 0,
    };
  }

  #onRequest(message: Exclude<ToEndpoint, { t: 'welcome' }>): void {
    if (message.t === 'draining') {
      this.emit('status', { t: 'draining', on: message.on });
      return;
    }
    if (message.t === 'verdicts') {
      this.#selfMoves.push(message);
      return;
    }
    if (message.t === 'move-answer') {
      this.#selfMoves.answered(message.n, message.outcome, message.reason);
      return;
    }
    if (message.t === 'lease' || message.t === 'peers' || message.t === 'fenced') {
      this.#onProtection(message);
      return;
    }
    const re = message.rq;
    const refuse = (error: unknown): void => {
      const refusal = toRestitchError(error);
      this.options.counters.add(`endpoint_${message.t}_refused_${refusal.code}_total`);
      this.options.logger.info({ request: message.t, code: refusal.code }, refusal.message);
      this.#link.tell({ t: 'refusal', re, failure: toFailure(refusal) });
    };
    const reply = (data: Reply): void => {
      this.#link.tell({ t: 'reply', re, ok: true, data });
      this.#closeIfDone();
    };
    try {
      const answer = this.#requests.handle(message, (data) =>
        this.#link.tellNow({ t: 'reply', re, ok: true, data }),
      );
      if (answer === undefined) return;
      if (answer instanceof Promise) answer.then(reply, refuse);
      else reply(answer);
    } catch (error) {
      refuse(error);
    }
  }

  #onProtection(message: Extract<ToEndpoint, { t: 'lease' | 'peers' | 'fenced' }>): void {
    const { protection } = this;
    if (protection === undefined) return;
    if (message.t === 'lease') protection.renew(message.n, message.leaseMs);
    else if (message.t === 'peers') protection.replication.setPeers(message.peers);
    else {
      this.options.logger.warn({ reason: message.reason }, 'fenced: another endpoint serves these sessions');
      protection.fence();
      this.#link.renewInstance();
    }
  }

  #closeIfDone(): void {
    const sessions = this.table.size + this.#target.pendingCount;
    if (!this.#isClosing || sessions > 0 || this.#servers.size > 0) return;
    this.#target.close();
    this.#closings.close();
    this.#leaving.close();
    this.#link.close();
    this.#telemetry.close();
    this.#pool.close();
    this.protection?.close();
    this.#loopDelay.disable();
    const listener = this.#stateListener;
    this.#stateListener = undefined;
    this.#starting = undefined;
    if (listener === undefined) return;
    listener.close().then(
      () => this.emit('close'),
      () => this.emit('close'),
    );
  }
}

/** An endpoint for several servers in one process; a single one is made by `createServer`. Throws `usage`. */
export function createEndpoint(options: EndpointOptions): Endpoint {
  return new Endpoint(options);
}
