/** The contract of an endpoint process, on the one that tests stand on and on the SDK over a real control connection. */
import type { Socket } from 'node:net';
import { RestitchError } from '@restitch/core';
import { type FromEndpoint, type SessionReport, type ToEndpoint, fromFailure } from '@restitch/wire/internal';
import { afterAll, describe } from 'vitest';
import {
  FakeEndpoint,
  type FakeImage,
  fakeVip,
} from '../../../packages/access-point/src/testing/fake-endpoint.js';
import { type EndpointStage, type Party, endpointContract } from './endpoint-contract.js';
import type { Data, FakePeer, WithoutNumber } from './fake-access-point.js';
import { until } from './streams.js';
import { type EndpointChild, World } from './world.js';

describe('in memory', () => {
  endpointContract(() => Promise.resolve(new MemoryStage()));
});

describe('the SDK', () => {
  let stage: ProcessStage | undefined;
  afterAll(() => stage?.close());

  endpointContract(async () => {
    stage = await ProcessStage.open();
    return stage;
  });
});

/** Every message is delivered in a later turn, as over a network. */
class MemoryStage implements EndpointStage {
  readonly app = { name: 'fake', version: '1' };
  readonly listener = 'main';
  readonly #endpoints: Record<Party, FakeEndpoint>;
  readonly #heard: Record<Party, FromEndpoint[]> = { a: [], b: [] };
  readonly #waiting = new Map<string, { resolve(data: Data): void; reject(error: Error): void }>();
  readonly #gone = new Set<string>();
  readonly #busy = new Set<string>();
  #requests = 0;
  #sessions = 0;

  constructor() {
    this.#endpoints = { a: this.#create('a'), b: this.#create('b') };
  }

  open(): Promise<SessionReport> {
    const n = ++this.#sessions;
    this.#busy.clear();
    const flow = { client: { address: '10.0.0.2', port: 20_000 + n }, vip: fakeVip };
    this.#endpoints.a.open(`s${n}`, flow);
    return Promise.resolve({ id: `s${n}`, flow, epoch: 0, phase: 'live', openedAtMs: 1 });
  }

  leave({ id }: SessionReport): void {
    this.#gone.add(id);
    for (const endpoint of Object.values(this.#endpoints)) endpoint.end(id);
  }

  end({ id }: SessionReport): Promise<void> {
    this.#endpoints.a.close(id, 1000, 'kernel');
    return Promise.resolve();
  }

  stateAddress(): { address: string; port: number } {
    return { address: '127.0.0.1', port: 9000 };
  }

  ask(at: Party, request: WithoutNumber<ToEndpoint>): Promise<Data> {
    const rq = ++this.#requests;
    return new Promise((resolve, reject) => {
      this.#waiting.set(`${at} ${rq}`, { resolve, reject });
      setImmediate(() => this.#endpoints[at].take({ ...request, rq } as ToEndpoint));
    });
  }

  heard(at: Party): readonly FromEndpoint[] {
    return this.#heard[at];
  }

  steer(): void {}

  reconnect(at: Party): Promise<void> {
    const endpoint = this.#endpoints[at];
    endpoint.linkLost();
    this.#heard[at] = [endpoint.hello(), endpoint.announce()];
    return Promise.resolve();
  }

  pin({ id }: SessionReport, isPinned: boolean): Promise<void> {
    const { pinned } = this.#endpoints.a;
    if (isPinned) pinned.add(id);
    else pinned.delete(id);
    return Promise.resolve();
  }

  busy({ id }: SessionReport, isBusy: boolean): Promise<void> {
    if (isBusy) this.#busy.add(id);
    else this.#busy.delete(id);
    return Promise.resolve();
  }

  liveAt({ id }: SessionReport): Promise<Party[]> {
    const isLive = (at: Party): boolean => this.#endpoints[at].copies.get(id)?.phase === 'live';
    return Promise.resolve((['a', 'b'] as const).filter(isLive));
  }

  #create(name: Party): FakeEndpoint {
    return new FakeEndpoint(name, `${name}#1`, {
      toAccessPoint: (message) => this.#hear(name, message),
      toPeer: (target, image: FakeImage) =>
        void setImmediate(() => this.#endpoints[target as Party].takeImage(image)),
      mishap: (what) => what === 'busy' && this.#busy.size > 0,
      isClientGone: (id) => this.#gone.has(id),
    });
  }

  #hear(at: Party, message: FromEndpoint): void {
    this.#heard[at].push(message);
    if (message.t !== 'reply' && message.t !== 'refusal') return;
    const waiting = this.#waiting.get(`${at} ${message.re}`);
    this.#waiting.delete(`${at} ${message.re}`);
    if (waiting === undefined)
      throw new RestitchError('message_invalid', `${at} answers ${message.re} again`);
    if (message.t === 'reply') waiting.resolve(message.data);
    else waiting.reject(fromFailure(message.failure));
  }
}

/** Two processes in namespaces of their own, clients of real TCP, control connections of real TLS. */
class ProcessStage implements EndpointStage {
  readonly app = { name: 'test', version: '1' };
  readonly #world: World;
  readonly #children: Record<Party, EndpointChild>;
  readonly #clients = new Map<string, Socket>();
  readonly listener = 'echo';

  private constructor(world: World, children: Record<Party, EndpointChild>) {
    this.#world = world;
    this.#children = children;
  }

  static async open(): Promise<ProcessStage> {
    const world = await World.open();
    const [a, b] = await Promise.all([world.start('a'), world.start('b')]);
    return new ProcessStage(world, { a, b });
  }

  async open(): Promise<SessionReport> {
    this.steer('a');
    const { client, report } = await this.#world.open(this.listener);
    client.on('error', () => undefined);
    this.#clients.set(report.id, client);
    return report;
  }

  leave({ id }: SessionReport): void {
    this.#clients.get(id)?.destroy();
  }

  /** The client's kernel takes no more, and the server's has the rest. */
  async end({ id }: SessionReport): Promise<void> {
    const owed = async (): Promise<number> => {
      // What looks as if it stayed may only not have been acknowledged yet.
      await new Promise((resolve) => setTimeout(resolve, 60));
      return (await this.ask('a', { t: 'residue' }))['bytes'] as number;
    };
    while ((await owed()) < 20_000 || (await owed()) < 20_000)
      await this.#children.a.tell('writeMany', { id, bytes: 10_000 });
    await this.#children.a.tell('destroy', { id });
  }

  stateAddress(at: Party): { address: string; port: number } {
    const { hello } = this.#peer(at);
    if (hello === undefined) throw new RestitchError('peer_lost', `${at} has not said hello`);
    return hello.stateAddress;
  }

  ask(at: Party, request: WithoutNumber<ToEndpoint>): Promise<Data> {
    return this.#peer(at).ask(request);
  }

  heard(at: Party): readonly FromEndpoint[] {
    return this.#peer(at).heard;
  }

  steer(to: Party): void {
    this.#world.net.steer(to);
  }

  async reconnect(at: Party): Promise<void> {
    const before = this.#peer(at);
    before.channel.close();
    await until(() => this.#peer(at) !== before && this.#peer(at).isAnnounced);
  }

  async pin({ id }: SessionReport, isPinned: boolean): Promise<void> {
    await this.#children.a.tell(isPinned ? 'pin' : 'unpin', { id, reason: 'as the test wants' });
  }

  async busy({ id }: SessionReport, isBusy: boolean): Promise<void> {
    await this.#children.a.tell(isBusy ? 'busy' : 'idle', { id });
  }

  async liveAt({ id }: SessionReport): Promise<Party[]> {
    const found = await Promise.all(
      (['a', 'b'] as const).map(async (at) =>
        (await this.#children[at].session(id))?.phase === 'live' ? [at] : [],
      ),
    );
    return found.flat();
  }

  close(): Promise<void> {
    return this.#world.close();
  }

  #peer(at: Party): FakePeer {
    const peer = this.#world.accessPoint.peers.get(at);
    if (peer === undefined) throw new RestitchError('peer_lost', `${at} has not connected`);
    return peer;
  }
}
