/** A whole cluster in memory: the real daemon core, fake endpoints, records that survive the daemon, one virtual clock. */
import { createCounters, formatFlow, silentLogger } from '@restitch/core';
import type { Clock, Flow } from '@restitch/core';
import type { StartRunner } from '../analytics/engine-runner.js';
import type { DaemonConfig } from '../config/index.js';
import { DaemonCore } from '../daemon/daemon-core.js';
import type { EndpointIds } from '../model/endpoint-ids.js';
import { FakeDataplane } from './fake-dataplane.js';
import { FakeEndpoint, fakeVip } from './fake-endpoint.js';
import type { EndpointPorts, FakeImage, FakeKernel } from './fake-endpoint.js';
import { FakeLink } from './fake-link.js';
import { VirtualClock, settleMicrotasks } from './virtual-clock.js';

/** What may go wrong next; a test fills it. */
export interface Mishaps {
  busy: number;
  thaw: number;
  prepare: number;
  freeze: number;
  residue: number;
}

interface Party {
  process: FakeEndpoint;
  link: FakeLink | undefined;
  starts: number;
}

/** See the head of the file. */
export class World {
  readonly clock = new VirtualClock();
  readonly dataplane = new FakeDataplane(this.clock);
  readonly counters = createCounters();
  readonly parties = new Map<string, Party>();
  /** Images between endpoints: `target` takes them in order. */
  readonly images: Array<FakeImage & { target: string }> = [];
  readonly mishaps: Mishaps = { busy: 0, thaw: 0, prepare: 0, freeze: 0, residue: 0 };
  /** By endpoint: what its host delivers for processes that have ended. */
  readonly kernels = new Map<string, FakeKernel>();
  core: DaemonCore;
  readonly #config: DaemonConfig;
  readonly #ids: EndpointIds;
  readonly #departed = new Set<string>();
  #generation = 0;
  #sessionIds = 0;

  readonly #startAnalytics: StartRunner | undefined;

  /** `startAnalytics`: where the analytics engine runs; without it there is none. */
  constructor(config: DaemonConfig, names: readonly string[], startAnalytics?: StartRunner) {
    this.#startAnalytics = startAnalytics;
    this.#config = config;
    this.#ids = { idOf: (name) => names.indexOf(name) + 1, names: () => [...names] };
    this.core = this.#startDaemon();
    for (const name of names) this.#startProcess(name);
  }

  /** The endpoint's process; throws if there is none of that name. */
  endpoint(name: string): FakeEndpoint {
    return this.#party(name).process;
  }

  link(name: string): FakeLink | undefined {
    return this.#party(name).link;
  }

  /** Dials anew if the endpoint has no connection. */
  connect(name: string): void {
    const party = this.#party(name);
    if (party.link?.isOpenThere === true) return;
    const link = new FakeLink(name);
    party.link = link;
    link.fromEndpoint(party.process.hello());
    link.fromEndpoint(party.process.announce());
    this.core.accept(link.channel);
  }

  /** Both ends notice the loss of the connection. */
  cut(name: string): void {
    this.cutThere(name);
    this.#party(name).link?.lostHere();
  }

  /** Only the endpoint notices. */
  cutThere(name: string): void {
    const { link, process } = this.#party(name);
    if (link?.isOpenThere !== true) return;
    link.lostThere();
    process.linkLost();
  }

  /** The process dies with all its copies; another takes its place. */
  kill(name: string): void {
    this.endpoint(name).die();
    this.cut(name);
    this.#startProcess(name);
  }

  /** `kill -9` of the daemon and a new one; records stay. */
  async restartDaemon(isAdopted = true): Promise<void> {
    this.core.close();
    for (const { link } of this.parties.values()) if (link !== undefined) link.isOpenHere = false;
    for (const name of this.parties.keys()) this.cutThere(name);
    this.dataplane.isAdopted = isAdopted;
    this.core = this.#startDaemon();
    await settleMicrotasks();
  }

  /** The access point's host goes down: records, ids in the maps and the daemon are new. */
  async rebootHost(): Promise<void> {
    this.dataplane.records.clear();
    await this.restartDaemon(false);
  }

  /** Time goes on; connected endpoints send heartbeats, which wait to be delivered. */
  async advance(byMs: number): Promise<void> {
    for (const { link, process } of this.parties.values()) {
      const sessions = process.copies.size;
      link?.fromEndpoint({ t: 'heartbeat', n: 1, sessions, eventLoopDelayMs: 0 });
    }
    await this.clock.advance(byMs);
  }

  /** A client's connection at an endpoint; the record is made as by BPF. */
  open(name: string): string {
    const id = `s${++this.#sessionIds}`;
    const flow = flowOf(this.#sessionIds);
    this.dataplane.apply([{ op: 'claim', flow, endpointId: this.#ids.idOf(name), epoch: 0 }]);
    this.endpoint(name).open(id, flow);
    return id;
  }

  /** Delivers the oldest message in one of the queues; false if all are empty. */
  deliver(pick: (count: number) => number): boolean {
    const ways: Array<() => void> = [];
    for (const { link, process } of this.parties.values()) {
      if (link === undefined) continue;
      if (link.toAccessPoint.length > 0 && link.isOpenHere) ways.push(() => link.deliverHere());
      if (link.toEndpoint.length > 0 && link.isOpenThere) {
        ways.push(() => {
          const message = link.toEndpoint.shift();
          if (message !== undefined) process.take(message);
        });
      }
    }
    for (const target of this.parties.keys()) {
      if (this.images.some((i) => i.target === target)) ways.push(() => this.#deliverImage(target));
    }
    if (ways.length === 0) return false;
    ways[pick(ways.length)]?.();
    return true;
  }

  /** Delivers until nothing is under way, time standing still. */
  async settle(): Promise<void> {
    for (let i = 0; i < 10_000; i++) {
      await settleMicrotasks();
      if (!this.deliver(() => 0)) return;
    }
    throw new Error('the world does not settle');
  }

  /** Everybody connected, all deadlines over, nothing under way. */
  async rest(): Promise<void> {
    for (let i = 0; i < 8; i++) {
      for (const [name, { link }] of this.parties) {
        // Its own keepalive tells an endpoint that its connection is gone.
        if (link?.isOpenHere === false) this.cutThere(name);
        this.connect(name);
      }
      await this.settle();
      await this.advance(4000);
      await this.settle();
    }
  }

  /** Live copies of a session with where they are. */
  liveCopies(id: string): Array<{ name: string; epoch: number }> {
    return this.copiesOf(id).filter((c) => c.phase === 'live');
  }

  copiesOf(id: string): Array<{ name: string; epoch: number; phase: string }> {
    return [...this.parties.values()].flatMap(({ process }) => {
      const copy = process.copies.get(id);
      const pending = [...process.pending.values()].filter((p) => p.sessionId === id);
      return [
        ...(copy === undefined ? [] : [{ name: process.name, epoch: copy.epoch, phase: copy.phase }]),
        ...pending.map((p) => ({ name: process.name, epoch: p.epoch, phase: 'pending' })),
      ];
    });
  }

  /** The client closes; whoever serves it hears that, a frozen copy only when it wakes. False if nobody does. */
  end(id: string): boolean {
    const isHeard = [...this.parties.values()].some(({ process }) => process.end(id));
    if (isHeard) this.#departed.add(id);
    return isHeard;
  }

  /** Who the record says owns the session's flow. */
  recordOf(id: string): { name: string; epoch: number; phase: string } | undefined {
    const record = this.dataplane.records.get(formatFlow(flowOf(Number(id.slice(1)))));
    if (record === undefined) return undefined;
    return {
      name: this.#ids.names()[record.endpointId - 1] ?? '?',
      epoch: record.epoch,
      phase: record.phase,
    };
  }

  #deliverImage(target: string): void {
    const at = this.images.findIndex((i) => i.target === target);
    const [image] = this.images.splice(at, 1);
    if (image !== undefined) this.endpoint(target).takeImage(image);
  }

  /** The host's kernel. */
  kernel(name: string): FakeKernel {
    const kernel = this.kernels.get(name) ?? new Map<string, number>();
    this.kernels.set(name, kernel);
    return kernel;
  }

  #startProcess(name: string): void {
    const starts = (this.parties.get(name)?.starts ?? 0) + 1;
    const party: Party = {
      starts,
      link: this.parties.get(name)?.link,
      process: new FakeEndpoint(
        name,
        `${name}#${starts}`,
        this.#portsOf(name, () => party),
        this.kernel(name),
      ),
    };
    this.parties.set(name, party);
    for (let i = this.images.length - 1; i >= 0; i--)
      if (this.images[i]?.target === name) this.images.splice(i, 1);
  }

  #portsOf(name: string, party: () => Party): EndpointPorts {
    return {
      toAccessPoint: (message) => {
        if (this.parties.get(name) === party()) party().link?.fromEndpoint(message);
      },
      toPeer: (target, image) => void this.images.push({ target, ...image }),
      mishap: (what) => {
        if (this.mishaps[what] === 0) return false;
        this.mishaps[what]--;
        return true;
      },
      isClientGone: (sessionId) => this.#departed.has(sessionId),
    };
  }

  /** The clock dies with the daemon that was given it: a killed process has no timers. */
  #mortalClock(): Clock {
    const clock = this.clock;
    const generation = ++this.#generation;
    return {
      wallMs: () => clock.wallMs(),
      monotonicNs: () => clock.monotonicNs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (delayMs, fn) =>
        clock.after(delayMs, () => {
          if (generation === this.#generation) fn();
        }),
    };
  }

  #startDaemon(): DaemonCore {
    const core = new DaemonCore({
      config: this.#config,
      dataplane: this.dataplane,
      ids: this.#ids,
      clock: this.#mortalClock(),
      logger: silentLogger,
      counters: this.counters,
      reload: () => Promise.resolve(),
      idPrefix: `d${this.#generation}-`,
      ...(this.#startAnalytics === undefined ? {} : { startAnalytics: this.#startAnalytics }),
    });
    core.start();
    return core;
  }

  #party(name: string): Party {
    const party = this.parties.get(name);
    if (party === undefined) throw new Error(`no party ${name}`);
    return party;
  }
}

/** The flow of the n-th session. */
export function flowOf(n: number): Flow {
  return { client: { address: '10.0.0.2', port: 10_000 + n }, vip: fakeVip };
}
