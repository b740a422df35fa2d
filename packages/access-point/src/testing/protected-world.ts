/**
 * Endpoints at level commit in memory around the real daemon core: who has which replica, who holds a lease, who would
 * emit. Time is virtual and messages are delivered one by one, so that a daemon can be made to die between any two.
 */
import { createCounters, formatFlow, silentLogger } from '@restitch/core';
import type { Clock, Flow } from '@restitch/core';
import type { Closing, FromEndpoint } from '@restitch/wire/internal';
import type { DaemonConfig } from '../config/index.js';
import { DaemonCore } from '../daemon/daemon-core.js';
import { FakeDataplane } from './fake-dataplane.js';
import { fakeVip } from './fake-endpoint.js';
import { FakeLink } from './fake-link.js';
import { ProtectedProcess } from './protected-process.js';
import { VirtualClock, settleMicrotasks } from './virtual-clock.js';

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
  readonly #agents = new Map<string, FakeLink>();
  /** By endpoint: connections that its host's kernel delivers for processes that have ended. */
  readonly #kernels = new Map<string, Map<string, { readonly flow: Flow; readonly epoch: number }>>();
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
    const session = { id, flow: this.openUntold(id, at, port), epoch: 0, openedAtMs: 1 };
    this.#links.get(at)?.fromEndpoint({ t: 'opened', sessions: [{ ...session, phase: 'live' }] });
  }

  /** The same, but the word of it is never sent. */
  openUntold(id: string, at: string, port: number): Flow {
    const process = this.process(at);
    const flow = this.accept(at, port);
    process.copies.set(id, { flow, epoch: 0 });
    this.replicate(process, id);
    return flow;
  }

  /** A client's connection that no application has accepted. */
  accept(at: string, port: number): Flow {
    const flow = flowOfPort(port);
    this.dataplane.apply([{ op: 'claim', flow, endpointId: this.#names.indexOf(at) + 1, epoch: 0 }]);
    this.process(at).acceptQueue.add(formatFlow(flow));
    return flow;
  }

  /** Its application ends a session; what the kernel delivers by itself has no replica. */
  close(id: string, at: string, finisher: Closing['finisher']): void {
    const process = this.process(at);
    const copy = process.copies.get(id);
    if (copy === undefined) return;
    const closing = { tailBytes: 1000, finisher };
    process.copies.set(id, { ...copy, closing });
    if (finisher === 'kernel') for (const other of this.processes.values()) other.replicas.delete(id);
    const { flow, epoch } = copy;
    this.#links.get(at)?.fromEndpoint({ t: 'closing', sessions: [{ id, flow, epoch, closing }] });
  }

  /** What the host of that endpoint delivers for processes that have ended, by flow. */
  kernel(name: string): Map<string, { readonly flow: Flow; readonly epoch: number }> {
    const kernel =
      this.#kernels.get(name) ?? new Map<string, { readonly flow: Flow; readonly epoch: number }>();
    this.#kernels.set(name, kernel);
    return kernel;
  }

  /** The kernel is done with all it had; the agent says so. */
  finish(name: string): void {
    const flows = [...this.kernel(name).values()].map(({ flow, epoch }) => ({ flow, epoch }));
    this.kernel(name).clear();
    this.agentSays(name, { t: 'finished', flows });
  }

  /** The agent of that host starts, or starts again. */
  startAgent(name: string): void {
    const link = new FakeLink(name);
    this.#agents.set(name, link);
    link.fromEndpoint({ t: 'agent-hello', protocol: { major: 1, minor: 0 }, name });
    this.core.accept(link.channel);
  }

  stopAgent(name: string): void {
    const link = this.#agents.get(name);
    this.#agents.delete(name);
    link?.lostThere();
    link?.lostHere();
  }

  agentSays(name: string, message: FromEndpoint): void {
    this.#agents.get(name)?.fromEndpoint(message);
  }

  isAgentConnected(name: string): boolean {
    return this.#agents.get(name)?.isOpenHere === true;
  }

  /** A message of an endpoint's process. */
  says(name: string, message: FromEndpoint): void {
    this.#links.get(name)?.fromEndpoint(message);
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
  kill(name: string, isRestarted: boolean, more: { readonly isLeaving?: boolean } = {}): void {
    const { instance, copies } = this.process(name);
    for (const { flow, epoch, closing } of copies.values()) {
      if (closing?.finisher === 'kernel') this.kernel(name).set(formatFlow(flow), { flow, epoch });
    }
    this.agentSays(name, { t: 'process-ended', instance, isFenced: true, isLast: !isRestarted, ...more });
    this.process(name).copies.clear();
    this.process(name).acceptQueue.clear();
    this.process(name).replicas.clear();
    this.#drop(name);
    if (isRestarted) this.#startProcess(name);
    else this.#unreachable.add(name);
  }

  /** The host goes down with everything on it. */
  killHost(name: string): void {
    this.stopAgent(name);
    this.kill(name, false);
    this.kernel(name).clear();
  }

  /** `kill -9` of the daemon and a new one; after a reboot of its host the records are new, too. */
  async restartDaemon(isReboot: boolean): Promise<void> {
    this.core.close();
    for (const name of this.#names) this.#drop(name);
    const agents = [...this.#agents.keys()];
    for (const name of agents) this.stopAgent(name);
    if (isReboot) this.dataplane.records.clear();
    this.dataplane.isAdopted = !isReboot;
    this.core = this.#startDaemon();
    for (const name of agents) this.startAgent(name);
    await settleMicrotasks();
  }

  /** Lets `forMs` go by; who can reach the access point connects, sends heartbeats, and every message arrives. */
  async run(forMs: number): Promise<void> {
    const endMs = this.clock.monotonicMs() + forMs;
    while (this.clock.monotonicMs() < endMs) {
      for (const name of this.#names) this.#keepConnected(name);
      await this.#deliverAll();
      if (Math.round(this.clock.monotonicMs()) % 200 === 0) {
        for (const name of this.#names) {
          const process = this.process(name);
          if (!process.isStopped) this.#links.get(name)?.fromEndpoint(process.heartbeat());
        }
        for (const link of this.#agents.values()) link.fromEndpoint({ t: 'agent-heartbeat' });
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
    const record = this.dataplane.records.get(formatFlow(flowOfPort(port)));
    if (record === undefined) return undefined;
    const name = this.#names[record.endpointId - 1] ?? '?';
    return { name, epoch: record.epoch, phase: record.phase };
  }

  async #deliverAll(): Promise<void> {
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (const agent of this.#agents.values()) {
        if (agent.toAccessPoint.length === 0) continue;
        agent.deliverHere();
        isBusy = true;
        await settleMicrotasks();
      }
      for (const name of this.#names) {
        const link = this.#links.get(name);
        if (link === undefined) continue;
        if (link.toAccessPoint.length > 0) link.deliverHere();
        else if (link.toEndpoint.length > 0 && !this.process(name).isStopped) this.#deliverThere(name, link);
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

/** The flow of a client's port. */
export function flowOfPort(port: number): Flow {
  return { client: { address: '10.0.0.2', port }, vip: fakeVip };
}
