/** A scripted access point: sends the real messages over real TLS and steers by the test network; decides nothing. */
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
type Data = Record<string, unknown>;
type WithoutNumber<T> = T extends { rq: number } ? Omit<T, 'rq'> : never;

/** One endpoint as it has spoken. */
export class FakePeer {
  readonly name: string;
  readonly channel: Channel;
  hello: Hello | undefined;
  readonly announced: SessionReport[] = [];
  isAnnounced = false;
  readonly events: FromEndpoint[] = [];
  readonly #waiting = new Map<number, { resolve(data: Data): void; reject(error: Error): void }>();
  readonly #listeners: Array<{ matches(m: FromEndpoint): boolean; resolve(m: FromEndpoint): void }> = [];
  readonly #telemetry: TelemetryOrder | undefined;
  #next = 1;

  constructor(channel: Channel, telemetry?: TelemetryOrder) {
    this.channel = channel;
    this.#telemetry = telemetry;
    this.name = channel.peer.name;
    channel.onMessage((raw) => this.#onMessage(parseMessage(fromEndpointSchema, raw, this.name)));
    channel.onClose(() => {
      for (const { reject } of this.#waiting.values()) reject(new RestitchError('peer_lost', 'closed'));
    });
  }

  /** Asks and waits for the answer; rejects with the refusal. */
  ask(message: WithoutNumber<ToEndpoint>): Promise<Data> {
    const rq = this.#next++;
    return new Promise((resolve, reject) => {
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

  #onMessage(message: FromEndpoint): void {
    if (message.t === 'hello') {
      this.hello = message;
      const welcome = { t: 'welcome', protocol: protocolVersion, heartbeatMs: 50, accessPoint: 'ap' };
      this.channel.send(this.#telemetry === undefined ? welcome : { ...welcome, telemetry: this.#telemetry });
    } else if (message.t === 'heartbeat' && this.hello?.protection !== undefined) {
      this.channel.send({ t: 'lease', n: message.n, leaseMs: 60_000 });
    } else if (message.t === 'announce') {
      this.announced.push(...message.sessions);
      this.isAnnounced ||= message.last;
    } else if (message.t === 'reply' || message.t === 'refusal') {
      const waiting = this.#waiting.get(message.re);
      this.#waiting.delete(message.re);
      if (message.t === 'reply') waiting?.resolve(message.data);
      else waiting?.reject(fromFailure(message.failure));
    }
    const index = this.#listeners.findIndex((l) => l.matches(message));
    if (index >= 0) this.#listeners.splice(index, 1)[0]?.resolve(message);
    else if (message.t !== 'heartbeat' && message.t !== 'reply' && message.t !== 'refusal')
      this.events.push(message);
  }
}

interface Wishes {
  telemetry?: TelemetryOrder;
}

/** The listening side of the control connection. */
export class FakeAccessPoint {
  readonly peers: ReadonlyMap<string, FakePeer>;
  readonly #wishes: Wishes;
  readonly #listener: ChannelListener;

  private constructor(listener: ChannelListener, peers: ReadonlyMap<string, FakePeer>, wishes: Wishes) {
    this.#listener = listener;
    this.peers = peers;
    this.#wishes = wishes;
  }

  /** What endpoints that connect from now on are asked to tell. */
  set telemetry(order: TelemetryOrder) {
    this.#wishes.telemetry = order;
  }

  static async open(host: string, tls: TlsFiles, port = 0): Promise<FakeAccessPoint> {
    const peers = new Map<string, FakePeer>();
    const wishes: Wishes = {};
    const listener = await listenChannels({
      host,
      port,
      tls,
      allow: ['endpoint'],
      maxMessageBytes: 4 * 1024 * 1024,
      onChannel: (channel) => peers.set(channel.peer.name, new FakePeer(channel, wishes.telemetry)),
    });
    return new FakeAccessPoint(listener, peers, wishes);
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

  close(): Promise<void> {
    return this.#listener.close();
  }
}
