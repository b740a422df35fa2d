/** A listening server whose sessions can move: net.Server's shape, Session instead of net.Socket. */
import { EventEmitter } from 'node:events';
import {
  type AddressInfo,
  type Server as NetServer,
  type Socket,
  createServer as createNetServer,
} from 'node:net';
import { type PlainData } from '@restitch/wire';
import { RestitchError, type SocketAddress, normalizeAddress, toRestitchError } from '@restitch/core';
import type { SessionImage } from '@restitch/wire/internal';
import { effectiveCapabilities } from '@restitch/sys';
import { setIntOption, solTcp, tcp } from '@restitch/sys/internal';
import type { EndpointStatus } from './endpoint.js';
import { uncapLater, watchConfirmation } from './move/confirmation.js';
import { runHooks } from './move/source-moves.js';
import type { ThawedSession } from './move/target-moves.js';
import { type ProtectionSettings, parseProtection } from '@restitch/guard';
import { type ServerOptions, defaultNotSentLowWaterBytes } from './options.js';
import type { CarriedFrom, TakenSession } from './protect/protection.js';
import type { ServerHost } from './server-host.js';
import type { Carrier } from './session/carrier.js';
import { assertNodeSupported, getSocketHandle } from './session/node-handle.js';
import { assertPlainData } from './session/plain-data.js';
import { Session } from './session/session.js';
import { createSessionId, toFlow } from './session/session-init.js';
import { SocketCarrier, adoptSocket } from './session/socket-carrier.js';

/** Called for each session: new ones, and with `session.resumed` those that were moved here. */
export type ConnectionListener = (session: Session) => void;

/** Where to listen. */
export interface ListenOptions {
  readonly port: number;
  /** The VIP. */
  readonly host?: string;
  readonly backlog?: number;
  /** What clients connect to, if `host` is a wildcard address. */
  readonly vip?: SocketAddress;
}

interface ServerEvents {
  listening: [];
  session: [Session];
  error: [Error];
  /** Of the endpoint, if `createServer` made it for this server alone. */
  status: [EndpointStatus];
  close: [];
}

/** A server of an endpoint. Emits 'listening', 'session', 'error', 'status', 'close'. */
export class Server extends EventEmitter<ServerEvents> {
  readonly #endpoint: ServerHost;
  readonly #options: ServerOptions;
  /** @internal undefined: level none without a guard. */
  readonly protection: ProtectionSettings | undefined;
  readonly #net: ReturnType<typeof createNetServer>;
  #vip: SocketAddress | undefined;
  #isClosing = false;

  /** @internal */
  constructor(endpoint: ServerHost, options: ServerOptions, onSession?: ConnectionListener) {
    super();
    this.#endpoint = endpoint;
    this.#options = options;
    this.protection = protectionOf(endpoint, options);
    if (onSession !== undefined) this.on('session', onSession);
    this.#net = createNetServer({
      pauseOnConnect: true,
      allowHalfOpen: true,
      noDelay: options.noDelay ?? false,
      keepAlive: options.keepAlive ?? false,
      keepAliveInitialDelay: options.keepAliveInitialDelayMs ?? 0,
    });
    this.#net.on('connection', (socket) => this.#accept(socket));
    this.#net.on('error', (error) => this.emit('error', error));
  }

  /** Name under which other endpoints know this listener. */
  get listenerName(): string {
    return this.#options.listener ?? `tcp-${this.#vip?.port ?? 0}`;
  }

  /** What clients connect to. Throws `usage` before `listen`. */
  get vip(): SocketAddress {
    if (this.#vip === undefined) throw new RestitchError('usage', 'the server does not listen yet');
    return this.#vip;
  }

  get listening(): boolean {
    return this.#net.listening && this.#vip !== undefined;
  }

  /** As net.Server. */
  address(): AddressInfo | string | null {
    return this.#net.address();
  }

  /**
   * Listens and then joins the access point, whether that is there already or not. 'error' carries `unsupported_node`,
   * `unsupported_host` (no CAP_NET_ADMIN), `usage`, or the system's error.
   */
  listen(options: ListenOptions, onListening?: () => void): this {
    if (onListening !== undefined) this.once('listening', onListening);
    if (this.protection === undefined || this.#endpoint.protection === undefined) this.#listenNow(options);
    else {
      this.#guardFirst(options, this.protection).then(
        () => this.#listenNow(options),
        (error: unknown) => this.emit('error', toRestitchError(error)),
      );
    }
    return this;
  }

  /** The gate must be shut before the first SYN is answered. */
  async #guardFirst(options: ListenOptions, settings: ProtectionSettings): Promise<void> {
    const address = normalizeAddress(options.vip?.address ?? options.host ?? '');
    const port = options.vip?.port ?? options.port;
    await this.#endpoint.protection?.guardListener({ address, port }, settings);
  }

  #listenNow(options: ListenOptions): void {
    const { port, host, backlog } = options;
    this.#net.listen(
      { port, ...(host === undefined ? {} : { host }), ...(backlog === undefined ? {} : { backlog }) },
      () => {
        this.#join(options).then(
          () => this.emit('listening'),
          (error: unknown) => {
            this.#net.close();
            this.emit('error', toRestitchError(error));
          },
        );
      },
    );
  }

  /** Stops accepting; 'close' comes when the listener's last session has moved away, or its client has everything. */
  close(onClose?: () => void): this {
    if (onClose !== undefined) this.once('close', onClose);
    if (this.#isClosing) return this;
    this.#isClosing = true;
    this.#net.close();
    const own = [...this.#endpoint.sessions].filter((session) => session.listener === this.listenerName);
    let open = own.length;
    const done = (): void => {
      if (open === 0) this.emit('close');
    };
    for (const session of own) {
      session.whenOver(() => {
        open--;
        done();
      });
    }
    this.#endpoint.unregister(this);
    done();
    return this;
  }

  /** @internal */
  accepts(app: { readonly name: string; readonly version: string }): boolean {
    const own = this.#endpoint.options.app;
    if (own.accepts !== undefined) return own.accepts(app.name, app.version);
    if (app.name !== own.name) return false;
    return app.version === own.version || this.#options.upgradeState !== undefined;
  }

  /** @internal */
  upgradeState(image: SessionImage): PlainData {
    const { upgradeState } = this.#options;
    if (image.app.version === this.#endpoint.options.app.version || upgradeState === undefined)
      return image.state;
    try {
      const state = upgradeState(image.state, image.app.version);
      assertPlainData(state, 'upgraded state');
      return state;
    } catch (cause) {
      throw new RestitchError(
        'app_refused',
        `state of version ${image.app.version} could not be upgraded: ${(cause as Error).message}`,
        { cause },
      );
    }
  }

  /** @internal */
  prepare(image: SessionImage, state: PlainData, epoch: number): Session {
    return this.#makeSession(image, state, epoch);
  }

  #makeSession(image: SessionImage, state: PlainData, epoch: number, taken?: TakenSession['taken']): Session {
    const commit = taken?.commit ?? image.protection?.commits;
    const session = new Session({
      id: image.sessionId,
      epoch,
      listener: image.listener,
      flow: image.flow,
      allowHalfOpen: this.#options.allowHalfOpen ?? false,
      openedAtMs: image.openedAtMs,
      resumed: {
        reason: taken === undefined ? 'move' : 'failover',
        ...(commit === undefined ? {} : { commit }),
        state,
        moves: image.moves,
        bytesRead: image.bytesRead,
        bytesWritten: image.bytesWritten,
        inputEnded: image.inputEnded,
        outputEnded: image.outputEnded,
      },
    });
    if (image.closing !== undefined) session.becomeTail(image.closing);
    return session;
  }

  /** @internal */
  resume(thawed: ThawedSession): void {
    const { image, epoch, socket, arrived } = thawed;
    const { taken } = thawed as Partial<TakenSession>;
    const { clock, counters } = this.#endpoint.options;
    const session = arrived?.session ?? this.#makeSession(image, thawed.state, epoch, taken);
    const inner = adoptSocket(socket.fd);
    const from = taken === undefined ? { moved: movedFrom(image, socket.unsent.length) } : { taken };
    const carrier = arrived === undefined ? this.#carry(session, inner, from) : undefined;
    this.#endpoint.sessionOpened(session);
    // What waits for commits is with the protection, and what was committed goes past that queue.
    const owed = taken === undefined && arrived === undefined ? [socket.unsent, image.unwritten] : [];
    session.prime(
      image.unread,
      owed.filter((b) => b.length > 0),
      image.outputEnded,
    );
    if (carrier !== undefined) session.attach(carrier);
    if (arrived !== undefined) this.#endpoint.protection?.moves.serveArrived(arrived, inner, socket.unsent);
    if (taken !== undefined && socket.unsent.length > 0) inner.write(socket.unsent);
    session.kernelTimers = socket.timers;
    watchConfirmation({ session, ownSegsIn: socket.ownSegsIn, clock, counters }, (serverRtos) =>
      this.#endpoint.confirmed(thawed.moveId, serverRtos),
    );
    uncapLater(session, clock);
    // Its application was through with it where it came from: the client gets its rest, and nobody else anything.
    if (image.closing !== undefined) return;
    this.#serve(session);
    session.emit('migrated', { from: thawed.source, moveId: thawed.moveId });
    runHooks(session.guards.thawHooks).catch((error: unknown) => session.destroy(toRestitchError(error)));
  }

  async #join(options: ListenOptions): Promise<void> {
    assertNodeSupported(this.#net);
    assertHostSupported();
    const bound = this.#net.address() as AddressInfo;
    const address = normalizeAddress(options.vip?.address ?? bound.address);
    if (address === '0.0.0.0' || address === '::') {
      throw new RestitchError('usage', 'listen: host must be the VIP, or `vip` must say what it is');
    }
    this.#vip = { address, port: options.vip?.port ?? bound.port };
    if (this.protection !== undefined && this.protection.level !== 'none') refuseDataInSyn(this.#net);
    await this.#endpoint.register(this);
  }

  #accept(socket: Socket): void {
    const flow = toFlow(socket);
    if (flow === undefined || this.#vip === undefined) {
      socket.destroy();
      return;
    }
    boundUnsent(socket, this.#options.notSentLowWaterBytes ?? defaultNotSentLowWaterBytes);
    const session = new Session({
      id: createSessionId(),
      epoch: 1,
      listener: this.listenerName,
      flow,
      allowHalfOpen: this.#options.allowHalfOpen ?? false,
      openedAtMs: this.#endpoint.options.clock.wallMs(),
    });
    this.#endpoint.sessionOpened(session);
    session.attach(this.#carry(session, socket));
    this.#serve(session);
  }

  /** The carrier of a session: straight to the socket, or with a buddy in between. */
  #carry(session: Session, socket: Socket, from: CarriedFrom = {}): Carrier {
    const { protection } = this.#endpoint;
    if (this.protection === undefined || protection === undefined) {
      return new SocketCarrier(socket, session.carrierEvents);
    }
    return protection.carry(session, socket, this.protection, from);
  }

  /** An application that throws here is broken as with net.Server: uncaught, but not in the middle of a move. */
  #serve(session: Session): void {
    try {
      this.emit('session', session);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }
}

function boundUnsent(socket: Socket, bytes: number): void {
  const fd = getSocketHandle(socket)?.fd ?? -1;
  if (bytes > 0 && fd >= 0) setIntOption(fd, solTcp, tcp.notsentLowat, bytes);
}

/** What comes with the SYN (TCP Fast Open) is acknowledged before anything can be committed. */
function refuseDataInSyn(server: NetServer): void {
  const { fd } = (server as unknown as { readonly _handle: { readonly fd: number } })._handle;
  setIntOption(fd, solTcp, tcp.fastopen, 0);
}

/** Found out at start, not in the middle of the first move. */
function assertHostSupported(): void {
  if (effectiveCapabilities().has('CAP_NET_ADMIN')) return;
  throw new RestitchError(
    'unsupported_host',
    'moving sessions needs CAP_NET_ADMIN: run as root, or with AmbientCapabilities=CAP_NET_ADMIN',
    { details: { capability: 'CAP_NET_ADMIN' } },
  );
}

function protectionOf(host: ServerHost, options: ServerOptions): ProtectionSettings | undefined {
  // Where the host has a guard, level none is a promise too: a crash is told, never taken for an end.
  if (options.protection === undefined && host.protection === undefined) return undefined;
  const settings = parseProtection(options.protection ?? {});
  if (settings.level !== 'none' && host.protection === undefined) {
    throw new RestitchError('usage', `level ${settings.level} needs the endpoint's option guard`);
  }
  return settings;
}

/** Where the streams of a moved session stand at its socket, and what that has sent and the client may lack. */
function movedFrom(image: SessionImage, unsentBytes: number): NonNullable<CarriedFrom['moved']> {
  const { bytesRead, bytesWritten, unread, unwritten, tcp: at, outputEnded, inputEnded } = image;
  const outputWritten = bytesWritten - unwritten.length - unsentBytes;
  const output = at.sendQueue.subarray(0, at.sentBytes);
  const inputRead = bytesRead + unread.length;
  const acked = outputWritten - output.length;
  return {
    inputRead,
    outputWritten,
    finSeq: at.finSent ? at.writeSeq : undefined,
    continued: {
      outputEnded,
      state: { app: image.state, outputEnded, inputEnded },
      consumed: bytesRead,
      input: unread,
      fin: at.finReceived,
      acked,
      output,
    },
  };
}
