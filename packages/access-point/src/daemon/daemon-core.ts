/** The daemon without its sockets: all parts put together over a data plane and a clock, so that tests can own both. */
import { randomBytes } from 'node:crypto';
import type { Clock, Counters, Logger } from '@restitch/core';
import type { Channel } from '@restitch/channel';
import type { Dataplane } from '@restitch/dataplane';
import type { IcmpEcho } from '@restitch/sys/internal';
import type { DaemonConfig } from '../config/index.js';
import { ClientEnds } from '../ownership/client-ends.js';
import { ControlPlane } from '../control/control-plane.js';
import { Coordinator } from '../moves/coordinator.js';
import type { DaemonState } from '../admin/daemon-state.js';
import { forgetAffinityOf } from '../ownership/dead-affinity.js';
import { Drains } from '../moves/drains.js';
import type { EndpointIds } from '../model/endpoint-ids.js';
import { EndpointRegistry } from '../model/endpoint-registry.js';
import type { Endpoint } from '../model/endpoint-registry.js';
import { createEventFeed } from '../model/event-feed.js';
import { createFlowBatch } from '../model/flow-batch.js';
import { FlowSweep } from '../ownership/flow-sweep.js';
import { HealthMonitor } from '../control/health-monitor.js';
import { createMoveHistory } from '../model/history.js';
import { Protection } from '../failover/protection.js';
import { Rebuild } from './rebuild.js';
import { Reconciler } from '../ownership/reconciler.js';
import { AnalyticsHost } from '../analytics/analytics-host.js';
import type { StartRunner } from '../analytics/engine-runner.js';
import { Collectors } from '../analytics/collectors.js';
import { SelfMoveDesk } from '../analytics/self-move-desk.js';
import { SessionRegistry } from '../model/session-registry.js';
import type { Session } from '../model/session-registry.js';
import { createTakeOverHistory } from '../model/take-over-history.js';

/** What the parts stand on. */
export interface DaemonCoreDeps {
  readonly config: DaemonConfig;
  readonly dataplane: Dataplane;
  readonly ids: EndpointIds;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly reload: () => Promise<void>;
  /** Where the analytics engine runs; without it there are no analytics. */
  readonly startAnalytics?: StartRunner;
  /** ICMP for the probes of paths; without it they are not probed. */
  readonly openEcho?: () => IcmpEcho;
  /** Begins the ids of moves; random by default. */
  readonly idPrefix?: string;
}

/** The schema's default weight: an endpoint that is not listed counts like one that is. */
const defaultWeight = 100;
/** Take-overs go first: milliseconds count there, the sweep may take a hundred, and a SYN is repeated after a second. */
const affinityPauseMs = 100;

/** All parts of a daemon. */
export class DaemonCore {
  readonly state: DaemonState;
  readonly sweep: FlowSweep;
  #config: DaemonConfig;
  readonly #control: ControlPlane;
  readonly #health: HealthMonitor;
  readonly #rebuild: Rebuild;
  #isClosed = false;

  constructor(deps: DaemonCoreDeps) {
    const { config, dataplane, clock, logger, counters } = deps;
    this.#config = config;
    const base = { clock, logger, counters, dataplane };
    const endpoints = new EndpointRegistry(deps.ids, (name) => this.#weightOf(name));
    const sessions = new SessionRegistry();
    const history = createMoveHistory(config.historyMoves);
    const takeOverHistory = createTakeOverHistory(config.historyMoves);
    const feed = createEventFeed();
    const batch = createFlowBatch(dataplane, clock, counters);
    const policy = (): DaemonConfig['moves'] => this.#config.moves;
    const lingerMs = (): number => this.#config.flows.closingLingerMs;
    const idPrefix = deps.idPrefix ?? `${randomBytes(6).toString('base64url')}-`;
    const parties = { endpoints, sessions, history, batch };
    const reconciler = new Reconciler({
      ...base,
      ...parties,
      lingerMs,
      onStale: (endpoint) => this.state.protection.contradicted(endpoint),
      onOwnerGone: (session) => this.state.protection.closingLeft(session),
    });
    const onDoubt = (session: Session): void => reconciler.askOwner(session);
    const mayReceive = (endpoint: Endpoint): boolean => protection.mayReceive(endpoint);
    const coordinator = new Coordinator({ ...base, ...parties, policy, idPrefix, onDoubt, mayReceive });
    const onChange = (endpoint: Endpoint): void => {
      this.#health.publishServices();
      collectors.notices.drainChanged(endpoint);
    };
    const { stateDirectory } = config;
    const drains = new Drains({ ...base, endpoints, coordinator, policy, stateDirectory, onChange });
    const heartbeatMs = (): number => this.#config.health.heartbeatMs;
    const newId = (): string => `${idPrefix}t${++takeOvers}`;
    let takeOvers = 0;
    const clientEnds = new ClientEnds({ ...base, batch, lingerMs });
    const protection = new Protection({
      ...base,
      clientEnds,
      batch,
      endpoints,
      sessions,
      feed,
      takeOverHistory,
      heartbeatMs,
      lingerMs,
      newId,
      onDeath: (endpoint, instance) => this.#onDeath(endpoint, instance),
    });
    const collectors = new Collectors({
      ...base,
      endpoints,
      sessions,
      drains,
      feed,
      config: () => this.#config,
      openEcho: deps.openEcho,
    });
    const analytics =
      deps.startAnalytics === undefined
        ? undefined
        : new AnalyticsHost({
            ...base,
            endpoints,
            sessions,
            coordinator,
            feed,
            inputs: collectors.inputs,
            config: () => this.#config.analytics,
            endpointConfig: () => this.#config.endpoints,
            locationOf: (address) => collectors.locationOf(address),
            maxQueued: () => this.#config.moves.maxQueued,
            start: deps.startAnalytics,
          });
    const parts = {
      ...base,
      inputs: collectors.inputs,
      telemetry: collectors.telemetry,
      collectors,
      analytics,
      batch,
      endpoints,
      sessions,
      coordinator,
      reconciler,
      protection,
      drains,
      feed,
      history,
      takeOverHistory,
    };
    this.#control = new ControlPlane({
      ...parts,
      selfMoves: new SelfMoveDesk({ sessions, coordinator, counters, analytics }),
      accessPointName: config.name,
      heartbeatMs,
      lingerMs,
      telemetryOrder: () => collectors.telemetryOrder,
      mayJoin: (name) => this.#mayJoin(name),
      onLiveness: (endpoint) => this.#onLiveness(endpoint),
      onProcessEnded: (name) => this.#rebuild.processEnded(name),
    });
    this.#health = new HealthMonitor({
      ...parts,
      policy: () => this.#config.health,
      services: () => this.#config.listeners,
      setLiveness: (endpoint, liveness) => this.#control.setLiveness(endpoint, liveness),
      onDown: () => reconciler.ownerAbsent(),
      isDead: (endpoint) => protection.isDead(endpoint),
    });
    this.sweep = new FlowSweep({ ...parts, clientEnds, policy: () => this.#config.flows });
    const onOver = (): void => {
      for (const endpoint of endpoints.all()) this.#forgetAffinity(endpoint);
    };
    this.#rebuild = new Rebuild({ ...parts, graceMs: config.rebuildGraceMs, onOver });
    this.state = {
      ...parts,
      config: () => this.#config,
      isRebuilding: () => this.#rebuild.isRebuilding,
      startedAtMs: clock.wallMs(),
      reload: deps.reload,
    };
    history.watch((move) => {
      if (feed.isWatched) feed.emit({ t: 'move', atMs: clock.wallMs(), move });
    });
  }

  /** Begins: waits for the known endpoints, takes up drains, watches. */
  start(): void {
    const { endpoints, drains } = this.state;
    for (const name of [...this.#config.endpoints.map((e) => e.name), ...endpoints.namesOfThePast()]) {
      endpoints.ensure(name);
    }
    this.#rebuild.start();
    drains.resumeSaved();
    this.#health.start();
    this.sweep.start();
    this.state.protection.start();
    // The past of clients is read before the engine is told of it.
    this.state.collectors.start();
    this.state.analytics?.start();
  }

  /** Takes an authenticated endpoint's connection. */
  accept(channel: Channel): void {
    this.#control.accept(channel);
  }

  /** Goes on with another configuration, which has been checked. */
  useConfig(next: DaemonConfig): void {
    const before = this.#config;
    this.#config = next;
    this.state.analytics?.reconfigured(before.analytics);
    for (const { name } of next.endpoints) this.state.endpoints.ensure(name);
    this.state.endpoints.refreshWeights();
    this.#health.publishServices();
    this.state.coordinator.pump();
  }

  /** Resolves when what it remembers is on the disk. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#health.close();
    this.sweep.close();
    this.state.protection.close();
    this.state.analytics?.close();
    this.#rebuild.close();
    this.state.drains.close();
    await this.state.collectors.close();
  }

  #weightOf(name: string): number {
    return this.#config.endpoints.find((e) => e.name === name)?.weight ?? defaultWeight;
  }

  #mayJoin(name: string): boolean {
    return this.#config.registration === 'certificate' || this.#config.endpoints.some((e) => e.name === name);
  }

  #onLiveness(endpoint: Endpoint): void {
    this.#health.publishServices();
    this.#rebuild.check();
    if (endpoint.liveness === 'down') this.#onDown(endpoint);
    if (endpoint.liveness === 'healthy') this.state.coordinator.pump();
  }

  #onDown(endpoint: Endpoint): void {
    const { clock, inputs, drains } = this.state;
    // Who left as it had said has not failed.
    if (!endpoint.hasLeft)
      inputs.push({ kind: 'failed', atMs: clock.monotonicMs(), endpoint: endpoint.name });
    if (endpoint.leavingInstance !== undefined) drains.processEnded(endpoint, endpoint.leavingInstance);
    this.#forgetAffinity(endpoint);
  }

  #onDeath(endpoint: Endpoint, instance: string): void {
    this.state.drains.processEnded(endpoint, instance);
    // In a turn of its own: it may be a successor's hello that told of the death, and is being read.
    queueMicrotask(() => {
      if (!this.#isClosed) this.#health.publishServices();
    });
    this.state.clock.after(affinityPauseMs, () => this.#forgetAffinity(endpoint));
  }

  #forgetAffinity(endpoint: Endpoint): void {
    if (this.#isClosed) return;
    forgetAffinityOf(endpoint, {
      ...this.state,
      afterPublish: (done) => this.#health.afterPublish(done),
      isDead: ({ liveness }) => liveness === 'down' || this.state.protection.isDead(endpoint),
    });
  }
}
