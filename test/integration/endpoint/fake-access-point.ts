/**
 * A scripted access point: sends the real messages over real TLS and steers by the test network; decides nothing. What it
 * promises to endpoints is access-point-contract.ts, which also runs on the real one.
 */
import { type Channel, type ChannelListener, type TlsFiles, listenChannels } from '@restitch/channel';
import { RestitchError } from '@restitch/core';
import {
  type FromEndpoint,
  type SessionReport,
  type TelemetryOrder,
  type ToEndpoint,
  fromEndpointSchema,
  fromFailure,
  parseMessage,
  protocolVersion,
} from '@restitch/wire/internal';

type Hello = Extract<FromEndpoint, { t: 'hello' }>;
/** What a reply says. */
export type Data = Record<string, unknown>;
/** A request before it has its number. */
export type WithoutNumber<T> = T extends { rq: number } ? Omit<T, 'rq'> : never;

/** One endpoint as it has spoken. */
export class FakePeer {
  readonly name: string;
  readonly channel: Channel;
  hello: Hello | undefined;
  readonly announced: SessionReport[] = [];
  isAnnounced = false;
  readonly events: FromEndpoint[] = [];
  /** All it has said but heartbeats, in order. */
  readonly heard: FromEndpoint[] = [];
  readonly #waiting = new Map<number, { resolve(data: Data): void; reject(error: Error): void }>();
  readonly #listeners: Array<{ matches(m: FromEndpoint): boolean; resolve(m: FromEndpoint): void }> = [];
  /** Rejects when the connection ends. */
  readonly lost: Promise<never>;
  readonly #greet: (peer: FakePeer) => void;
  readonly #telemetry: TelemetryOrder | undefined;
  #next = 1;

  constructor(channel: Channel, greet: (peer: FakePeer) => void, telemetry?: TelemetryOrder) {
    this.channel = channel;
    this.#greet = greet;
    this.#telemetry = telemetry;
    this.name = channel.peer.name;
    channel.onMessage((raw) => this.#onMessage(parseMessage(fromEndpointSchema, raw, this.name)));
    this.lost = new Promise((_, reject) => {
      channel.onClose(() => {
        reject(new RestitchError('peer_lost', `${this.name} is not connected any more`));
      });
    });
    this.lost.catch(() => undefined);
  }

  /** Asks and waits for the answer; rejects with the refusal. */
  ask(message: WithoutNumber<ToEndpoint>): Promise<Data> {
    const rq = this.#next++;
    return new Promise((resolve, reject) => {
      this.lost.catch(reject);
      this.#waiting.set(rq, { resolve, reject });
      this.channel.send({ ...message, rq });
    });
  }

  /** The next event of this kind, or one that came already and was not taken. */
  async event<T extends FromEndpoint['t']>(t: T, moveId?: string): Promise<Extract<FromEndpoint, { t: T }>> {
    const matches = (m: FromEndpoint): boolean =>
      m.t === t && (moveId === undefined || ('moveId' in m && m.moveId === moveId));
    const index = this.events.findIndex(matches);
    if (index >= 0) return this.events.splice(index, 1)[0] as Extract<FromEndpoint, { t: T }>;
    const got = await new Promise<FromEndpoint>((resolve) => this.#listeners.push({ matches, resolve }));
    return got as Extract<FromEndpoint, { t: T }>;
  }

  #assertInTurn(message: FromEndpoint): void {
    if (agentWords.has(message.t)) throw invalid(`${this.name} is no agent and sent ${message.t}`);
    if ((message.t === 'hello') !== (this.hello === undefined)) throw invalid(`${message.t} out of turn`);
    if (message.t !== 'hello') return;
    if (message.name !== this.name)
      throw new RestitchError('forbidden', `${this.name} speaks as ${message.name}`);
    if (message.protocol.major !== protocolVersion.major)
      throw new RestitchError('version_unsupported', `protocol ${message.protocol.major}`);
  }

  #onMessage(message: FromEndpoint): void {
    if (message.t !== 'heartbeat') this.heard.push(message);
    this.#assertInTurn(message);
    if (message.t === 'hello') {
      this.hello = message;
      this.#greet(this);
      const welcome = { t: 'welcome', protocol: protocolVersion, heartbeatMs: 50, accessPoint: 'ap' };
      this.channel.send(this.#telemetry === undefined ? welcome : { ...welcome, telemetry: this.#telemetry });
    } else if (message.t === 'heartbeat' && this.hello?.protection !== undefined) {
      this.channel.send({ t: 'lease', n: message.n, leaseMs: 60_000 });
    } else if (message.t === 'announce') {
      this.announced.push(...message.sessions);
      this.isAnnounced ||= message.last;
    } else if (message.t === 'reply' || message.t === 'refusal') {
      const waiting = this.#waiting.get(message.re);
      if (waiting === undefined) throw invalid(`${this.name} answered ${message.re}, which was not asked`);
      this.#waiting.delete(message.re);
      if (message.t === 'reply') waiting.resolve(message.data);
      else waiting.reject(fromFailure(message.failure));
    }
    const index = this.#listeners.findIndex((l) => l.matches(message));
    if (index >= 0) this.#listeners.splice(index, 1)[0]?.resolve(message);
    else if (message.t !== 'heartbeat' && message.t !== 'reply' && message.t !== 'refusal')
      this.events.push(message);
  }
}

/** Words of a host's agent, which has a connection of its own. */
const agentWords: ReadonlySet<string> = new Set([
  'agent-hello',
  'agent-heartbeat',
  'process-ended',
  'finished',
]);

function invalid(what: string): RestitchError {
  return new RestitchError('message_invalid', what);
}

/** A move as a test wants it. */
export interface ScriptedMove {
  readonly moveId: string;
  readonly report: SessionReport;
  readonly from: string;
  readonly to: string;
  /** The record names the target from now on. */
  readonly onSwitch: () => void;
}

interface Orders {
  telemetry?: TelemetryOrder;
}

/** The listening side of the control connection. */
export class FakeAccessPoint {
  readonly peers: ReadonlyMap<string, FakePeer>;
  readonly #orders: Orders;
  readonly #listener: ChannelListener;

  private constructor(listener: ChannelListener, peers: ReadonlyMap<string, FakePeer>, orders: Orders) {
    this.#listener = listener;
    this.peers = peers;
    this.#orders = orders;
  }

  /** What endpoints that connect from now on are asked to tell. */
  set telemetry(order: TelemetryOrder) {
    this.#orders.telemetry = order;
  }

  static async open(host: string, tls: TlsFiles, port = 0): Promise<FakeAccessPoint> {
    const peers = new Map<string, FakePeer>();
    const orders: Orders = {};
    const listener = await listenChannels({
      host,
      port,
      tls,
      allow: ['endpoint'],
      maxMessageBytes: 4 * 1024 * 1024,
      onChannel: (channel) => {
        new FakePeer(
          channel,
          (peer) => {
            peers.get(peer.name)?.channel.close();
            peers.set(peer.name, peer);
          },
          orders.telemetry,
        );
      },
    });
    return new FakeAccessPoint(listener, peers, orders);
  }

  get port(): number {
    return this.#listener.port;
  }

  /** The endpoint once it has announced all listeners. */
  async peer(name: string, listeners = 1): Promise<FakePeer> {
    for (let i = 0; i < 1000; i++) {
      const peer = this.peers.get(name);
      if (peer?.isAnnounced === true && (peer.hello?.listeners.length ?? 0) >= listeners) return peer;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`endpoint ${name} did not come`);
  }

  /** Tells everybody who can be a buddy; `dead` cannot. */
  publishPeers(dead?: string): void {
    const peers = [...this.peers.values()].flatMap(({ hello }) =>
      hello?.protection === undefined || hello.name === dead
        ? []
        : [
            {
              name: hello.name,
              instance: hello.instance,
              stateAddress: hello.stateAddress,
              labels: hello.protection.labels,
            },
          ],
    );
    for (const peer of this.peers.values()) peer.channel.send({ t: 'peers', peers });
  }

  /** A reserve request for this session. */
  reservation(source: FakePeer, report: SessionReport, moveId: string, epoch: number, expiresMs = 10_000) {
    const hello = source.hello as Hello;
    const listener = hello.listeners.find((l) => l.vip.port === report.flow.vip.port);
    return {
      t: 'reserve' as const,
      moveId,
      sessionId: report.id,
      flow: report.flow,
      epoch,
      source: source.name,
      app: hello.app,
      listener: listener?.name ?? 'none',
      expiresMs,
    };
  }

  /** The steps before the freeze; `onReserved`: between them. */
  async reserveAndPrepare(
    { moveId, report, from, to }: Omit<ScriptedMove, 'onSwitch'>,
    epoch: number,
    onReserved: () => void = () => undefined,
  ): Promise<void> {
    const [source, target] = await Promise.all([this.peer(from), this.peer(to)]);
    await target.ask(this.reservation(source, report, moveId, epoch));
    onReserved();
    const { stateAddress } = target.hello as Hello;
    await source.ask({
      t: 'prepare',
      moveId,
      sessionId: report.id,
      target: { name: to, address: stateAddress },
      budgetMs: 2000,
    });
  }

  /** A whole move; resolves when it is released. One that fails before the switch is undone, and rejects with the reason. */
  async move(move: ScriptedMove): Promise<void> {
    const { moveId, report, from, to, onSwitch } = move;
    const epoch = report.epoch + 1;
    const [source, target] = await Promise.all([this.peer(from), this.peer(to)]);
    const isLost = Promise.race([source.lost, target.lost]);
    let isReserved = false;
    const onReserved = (): void => {
      isReserved = true;
    };
    try {
      await Promise.race([this.reserveAndPrepare(move, epoch, onReserved), isLost]);
      await Promise.race([freezeWhenIdle(source, moveId, epoch), isLost]);
      await Promise.race([thawed(target, moveId), isLost]);
    } catch (error) {
      if (isReserved)
        await Promise.allSettled([target.ask({ t: 'abort', moveId }), source.ask({ t: 'revert', moveId })]);
      throw error;
    }
    onSwitch();
    await target.ask({ t: 'activate', moveId, epoch });
    await target.event('confirmed', moveId);
    await source.ask({ t: 'release', moveId });
  }

  close(): Promise<void> {
    return this.#listener.close();
  }
}

/** The target has rebuilt the socket, or says why not. */
export async function thawed(target: FakePeer, moveId: string): Promise<void> {
  const failed = target.event('thaw-failed', moveId).then(({ failure }) => {
    throw fromFailure(failure);
  });
  await Promise.race([target.event('thawed', moveId), failed]);
}

/** Tries again while the session is busy, as the access point does. */
async function freezeWhenIdle(source: FakePeer, moveId: string, epoch: number): Promise<void> {
  for (;;) {
    try {
      await source.ask({ t: 'freeze', moveId, epoch, budgetMs: 1000 });
      return;
    } catch (error) {
      if ((error as RestitchError).code !== 'session_busy') throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
