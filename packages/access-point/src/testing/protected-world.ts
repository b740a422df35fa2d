/**
 * Endpoints at level commit in memory around the real daemon core: who has which replica, who holds a lease, who would
 * emit. Time is virtual and messages are delivered one by one, so that a daemon can be made to die between any two.
 */
import { createCounters, formatFlow, silentLogger } from '@restitch/core';
import type { Clock, Flow } from '@restitch/core';
import { RestitchError } from '@restitch/core';
import { toFailure } from '@restitch/core/internal';
import type { FromEndpoint, ToEndpoint } from '@restitch/core/internal';
import type { DaemonConfig } from '../config/index.js';
import { DaemonCore } from '../daemon-core.js';
import { FakeDataplane } from './fake-dataplane.js';
import { fakeVip } from './fake-endpoint.js';
import { FakeLink } from './fake-link.js';
import { VirtualClock, settleMicrotasks } from './virtual-clock.js';

interface Kept {
  readonly owner: string;
  readonly instance: string;
  readonly flow: Flow;
  readonly epoch: number;
}

/** One endpoint's process. */
class ProtectedProcess {
  readonly name: string;
  readonly instance: string;
  /** What it serves, and would send for while its lease runs. */
  readonly copies = new Map<string, { readonly flow: Flow; readonly epoch: number }>();
  readonly replicas = new Map<string, Kept>();
  leaseEndsMs = 0;
  isFenced = false;
  readonly #world: ProtectedWorld;
  readonly #beatsAtMs = new Map<number, number>();

  constructor(world: ProtectedWorld, name: string, instance: string) {
    this.#world = world;
    this.name = name;
    this.instance = instance;
  }

  hello(): FromEndpoint {
    return {
      t: 'hello',
      protocol: { major: 1, minor: 0 },
      name: this.name,
      instance: this.instance,
      app: { name: 'fake', version: '1' },
      stateAddress: { address: '127.0.0.1', port: 9000 },
      dataAddress: '10.0.0.1',
      listeners: [{ name: 'main', vip: fakeVip }],
      features: [],
      protection: { labels: {} },
    };
  }

  announce(): FromEndpoint {
    const sessions = [...this.copies].map(([id, { flow, epoch }]) => {
      return { id, flow, epoch, phase: 'live' as const, openedAtMs: 1 };
    });
    return { t: 'announce', sessions, last: true };
  }

  heartbeat(): FromEndpoint {
    const n = this.#beatsAtMs.size + 1;
    this.#beatsAtMs.set(n, this.#world.clock.monotonicMs());
    return { t: 'heartbeat', n, sessions: this.copies.size, eventLoopDelayMs: 0 };
  }

  emits(id: string): boolean {
    return this.copies.has(id) && this.#world.clock.monotonicMs() < this.leaseEndsMs;
  }

  take(message: ToEndpoint, answer: (message: FromEndpoint) => void): void {
    if (message.t === 'lease') {
      this.leaseEndsMs = (this.#beatsAtMs.get(message.n) ?? 0) + message.leaseMs;
    } else if (message.t === 'fenced') {
      this.isFenced = true;
      this.copies.clear();
    }
    if (!('rq' in message)) return;
    const re = message.rq;
    try {
      answer({ t: 'reply', re, ok: true, data: this.#answer(message) });
    } catch (error) {
      answer({ t: 'refusal', re, failure: toFailure(error as RestitchError) });
    }
  }

  #answer(message: Extract<ToEndpoint, { rq: number }>): Record<string, unknown> {
    if (message.t === 'query') return { owned: message.flows.map(() => false) };
    if (message.t === 'replicas') {
      const all = [...this.replicas].map(([id, kept]) => ({ id, n: 1, openedAtMs: 1, ...kept }));
      return { replicas: all.filter((r) => message.owner === undefined || r.owner === message.owner) };
    }
    if (message.t !== 'take-over') throw new RestitchError('forbidden', `${message.t} is not played here`);
    const { sessionId: id, epoch } = message;
    if (this.copies.get(id)?.epoch === epoch) return { isRepeat: true };
    const kept = this.replicas.get(id);
    if (kept === undefined || kept.epoch >= epoch) throw new RestitchError('unknown_session', 'no replica');
    this.replicas.delete(id);
    this.copies.set(id, { flow: kept.flow, epoch });
    this.#world.replicate(this, id);
    return {};
  }
}

/** The watch looks as often. */
const stepMs = 20;

/** See the head of the file. */
export class ProtectedWorld {
  readonly clock = new VirtualClock();
  readonly dataplane = new FakeDataplane(this.clock);
  readonly counters = createCounters();
  readonly processes = new Map<string, ProtectedProcess>();
  /** Processes that were replaced or cut off and may still run somewhere. */
  readonly zombies: ProtectedProcess[] = [];
  core: DaemonCore;
  /** Messages delivered and steps of time made so far. */
  events = 0;
  /** Called after each of them. */
  onEvent: () => Promise<void> | void = () => undefined;
  readonly #links = new Map<string, FakeLink>();
  readonly #unreachable = new Set<string>();
  readonly #config: DaemonConfig;
  readonly #names: readonly string[];
  #generation = 0;
  #starts = 0;

  constructor(config: DaemonConfig, names: readonly string[]) {
    this.#config = config;
    this.#names = names;
    this.core = this.#startDaemon();
    for (const name of names) this.#startProcess(name);
  }

  process(name: string): ProtectedProcess {
    const found = this.processes.get(name);
    if (found === undefined) throw new Error(`no process ${name}`);
    return found;
  }

  /** A client's connection, replicated at once. */
  open(id: string, at: string, port: number): void {
    const process = this.process(at);
    const flow = { client: { address: '10.0.0.2', port }, vip: fakeVip };
    this.dataplane.apply([{ op: 'claim', flow, endpointId: this.#names.indexOf(at) + 1, epoch: 0 }]);
    process.copies.set(id, { flow, epoch: 0 });
    this.replicate(process, id);
    const session = { id, flow, epoch: 0, phase: 'live' as const, openedAtMs: 1 };
    this.#links.get(at)?.fromEndpoint({ t: 'opened', sessions: [session] });
  }

  /** The next endpoint round the table that lives keeps the replica. */
  replicate(owner: ProtectedProcess, id: string): void {
    const copy = owner.copies.get(id);
    const at = this.#names.indexOf(owner.name);
    const others = [...this.#names.slice(at + 1), ...this.#names.slice(0, at)];
    const shift = Number(id.slice(1)) % 2;
    const buddy = [...others.slice(shift), ...others.slice(0, shift)].find((n) => !this.#unreachable.has(n));
    if (copy === undefined || buddy === undefined) return;
    this.process(buddy).replicas.set(id, { ...copy, owner: owner.name, instance: owner.instance });
  }

  /** The network round the endpoint is gone; its process goes on. */
  cutOff(name: string): void {
    this.#unreachable.add(name);
    this.#drop(name);
  }

  /** It can be reached again. */
  heal(name: string): void {
    this.#unreachable.delete(name);
  }

  /** `kill -9`; with `isRestarted` another process takes its place at once. */
  kill(name: string, isRestarted: boolean): void {
    this.process(name).copies.clear();
    this.process(name).replicas.clear();
    this.#drop(name);
    if (isRestarted) this.#startProcess(name);
    else this.#unreachable.add(name);
  }

  /** `kill -9` of the daemon and a new one; after a reboot of its host the records are new, too. */
  async restartDaemon(isReboot: boolean): Promise<void> {
    this.core.close();
    for (const name of this.#names) this.#drop(name);
    if (isReboot) this.dataplane.records.clear();
    this.dataplane.isAdopted = !isReboot;
    this.core = this.#startDaemon();
    await settleMicrotasks();
  }

  /** Lets `forMs` go by; who can reach the access point connects, sends heartbeats, and every message arrives. */
  async run(forMs: number): Promise<void> {
    const endMs = this.clock.monotonicMs() + forMs;
    while (this.clock.monotonicMs() < endMs) {
      for (const name of this.#names) this.#keepConnected(name);
      await this.#deliverAll();
      if (Math.round(this.clock.monotonicMs()) % 200 === 0) {
        for (const name of this.#names) this.#links.get(name)?.fromEndpoint(this.process(name).heartbeat());
      }
      await this.clock.advance(stepMs);
      await this.#tell();
    }
    await this.#deliverAll();
  }

  /** Whoever would send something for that session now. */
  emitters(id: string): string[] {
    return [...this.processes.values(), ...this.zombies].filter((p) => p.emits(id)).map((p) => p.instance);
  }

  /** What the record says of the session's flow. */
  recordOf(
    port: number,
  ): { readonly name: string; readonly epoch: number; readonly phase: string } | undefined {
    const flow = { client: { address: '10.0.0.2', port }, vip: fakeVip };
    const record = this.dataplane.records.get(formatFlow(flow));
    if (record === undefined) return undefined;
    const name = this.#names[record.endpointId - 1] ?? '?';
    return { name, epoch: record.epoch, phase: record.phase };
  }

  async #deliverAll(): Promise<void> {
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (const name of this.#names) {
        const link = this.#links.get(name);
        if (link === undefined) continue;
        if (link.toAccessPoint.length > 0) link.deliverHere();
        else if (link.toEndpoint.length > 0) this.#deliverThere(name, link);
        else continue;
        isBusy = true;
        await settleMicrotasks();
        await this.#tell();
      }
    }
  }

  #deliverThere(name: string, link: FakeLink): void {
    const message = link.toEndpoint.shift();
    const process = this.process(name);
    if (message !== undefined) process.take(message, (answer) => link.fromEndpoint(answer));
    if (!process.isFenced) return;
    this.#drop(name);
    this.#startProcess(name);
  }

  async #tell(): Promise<void> {
    this.events++;
    await this.onEvent();
  }

  #keepConnected(name: string): void {
    const link = this.#links.get(name);
    if (this.#unreachable.has(name) || (link?.isOpenHere === true && link.isOpenThere)) return;
    this.#drop(name);
    const fresh = new FakeLink(name);
    this.#links.set(name, fresh);
    fresh.fromEndpoint(this.process(name).hello());
    fresh.fromEndpoint(this.process(name).announce());
    this.core.accept(fresh.channel);
  }

  #drop(name: string): void {
    const link = this.#links.get(name);
    this.#links.delete(name);
    link?.lostThere();
    link?.lostHere();
  }

  #startProcess(name: string): void {
    const before = this.processes.get(name);
    if (before !== undefined) this.zombies.push(before);
    this.processes.set(name, new ProtectedProcess(this, name, `${name}#${++this.#starts}`));
  }

  #startDaemon(): DaemonCore {
    const { clock } = this;
    const generation = ++this.#generation;
    const mortal: Clock = {
      wallMs: () => clock.wallMs(),
      monotonicNs: () => clock.monotonicNs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (delayMs, fn) => clock.after(delayMs, () => generation === this.#generation && fn()),
    };
    const core = new DaemonCore({
      config: this.#config,
      dataplane: this.dataplane,
      ids: { idOf: (name) => this.#names.indexOf(name) + 1, names: () => [...this.#names] },
      clock: mortal,
      logger: silentLogger,
      counters: this.counters,
      reload: () => Promise.resolve(),
      idPrefix: `d${generation}-`,
    });
    core.start();
    return core;
  }
}
