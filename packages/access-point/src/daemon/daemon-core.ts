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
import { CurrentConfig } from './current-config.js';
import { EndpointChanges } from './endpoint-changes.js';
import { Rebuild } from './rebuild.js';
import { Reconciler } from '../ownership/reconciler.js';
import { AnalyticsHost } from '../analytics/analytics-host.js';
import type { StartRunner } from '../analytics/engine-runner.js';
import { Collectors } from '../analytics/collectors.js';
import { SelfMoveHandler } from '../analytics/self-move-handler.js';
import { SessionRegistry } from '../model/session-registry.js';
import { createSignal } from '../model/signal.js';
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

/** All parts of a daemon, in the order in which they stand on each other. */
export class DaemonCore {
  readonly state: DaemonState;
  readonly sweep: FlowSweep;
  readonly #config: CurrentConfig;
  readonly #control: ControlPlane;
  readonly #health: HealthMonitor;
  readonly #rebuild: Rebuild;
  readonly #changes: EndpointChanges;

  constructor(deps: DaemonCoreDeps) {
    const { clock, logger, counters, dataplane } = deps;
    const { historyMoves, rebuildGraceMs, stateDirectory, name: accessPointName } = deps.config;
    const config = new CurrentConfig(deps.config);
    const idPrefix = deps.idPrefix ?? `${randomBytes(6).toString('base64url')}-`;
    const heard = {
      drain: createSignal<[Endpoint]>(),
      death: createSignal<[Endpoint, string]>(),
      liveness: createSignal<[Endpoint]>(),
      processEnded: createSignal<[string]>(),
      startOver: createSignal<[]>(),
    };

    const model = {
      clock,
      logger,
      counters,
      dataplane,
      endpoints: new EndpointRegistry(deps.ids, (name) => config.weightOf(name)),
      sessions: new SessionRegistry(),
      history: createMoveHistory(historyMoves),
      takeOverHistory: createTakeOverHistory(historyMoves),
      feed: createEventFeed(),
      batch: createFlowBatch(dataplane, clock, counters),
      heartbeatMs: () => config.value.health.heartbeatMs,
      lingerMs: () => config.value.flows.closingLingerMs,
    };
    const { sessions, history, feed } = model;
    const clientEnds = new ClientEnds(model);
    const protection = new Protection({
      ...model,
      clientEnds,
      newId: countUp(`${idPrefix}t`),
      onDeath: heard.death.tell,
    });
    const reconciler = new Reconciler({
      ...model,
      onStale: (endpoint) => protection.contradicted(endpoint),
      onOwnerGone: (session) => protection.closingLeft(session),
    });
    const coordinator = new Coordinator({
      ...model,
      policy: () => config.value.moves,
      idPrefix,
      onDoubt: (session) => reconciler.askOwner(session),
      mayReceive: (endpoint) => protection.mayReceive(endpoint),
    });
    const drains = new Drains({
      ...model,
      coordinator,
      policy: () => config.value.moves,
      stateDirectory,
      onChange: heard.drain.tell,
    });
    const collectors = new Collectors({
      ...model,
      drains,
      config: () => config.value,
      openEcho: deps.openEcho,
    });
    const { inputs, telemetry } = collectors;
    const analytics =
      deps.startAnalytics &&
      new AnalyticsHost({
        ...model,
        coordinator,
        inputs,
        config: () => config.value.analytics,
        endpointConfig: () => config.value.endpoints,
        locationOf: (address) => collectors.locationOf(address),
        start: deps.startAnalytics,
      });
    const parts = {
      ...model,
      inputs,
      telemetry,
      collectors,
      analytics,
      coordinator,
      reconciler,
      protection,
      drains,
    };
    const control = new ControlPlane({
      ...parts,
      selfMoves: new SelfMoveHandler({ sessions, coordinator, counters, analytics }),
      accessPointName,
      telemetryOrder: () => collectors.telemetryOrder,
      mayJoin: (name) => config.mayJoin(name),
      onLiveness: heard.liveness.tell,
      onProcessEnded: heard.processEnded.tell,
    });
    const health = new HealthMonitor({
      ...parts,
      policy: () => config.value.health,
      services: () => config.value.listeners,
      setLiveness: (endpoint, liveness) => control.setLiveness(endpoint, liveness),
      onDown: () => reconciler.ownerAbsent(),
      isDead: (endpoint) => protection.isDead(endpoint),
    });
    const sweep = new FlowSweep({ ...parts, clientEnds, policy: () => config.value.flows });
    const rebuild = new Rebuild({ ...parts, graceMs: rebuildGraceMs, onOver: heard.startOver.tell });
    const changes = new EndpointChanges({ ...parts, health, rebuild });

    heard.drain.hear((endpoint) => changes.drain(endpoint));
    heard.death.hear((endpoint, instance) => changes.death(endpoint, instance));
    heard.liveness.hear((endpoint) => changes.liveness(endpoint));
    heard.processEnded.hear((name) => rebuild.processEnded(name));
    heard.startOver.hear(() => changes.startOver());
    history.watch((move) => {
      if (feed.isWatched) feed.emit({ t: 'move', atMs: clock.wallMs(), move });
    });

    this.state = {
      ...parts,
      config: () => config.value,
      isRebuilding: () => rebuild.isRebuilding,
      startedAtMs: clock.wallMs(),
      reload: deps.reload,
    };
    this.sweep = sweep;
    this.#config = config;
    this.#control = control;
    this.#health = health;
    this.#rebuild = rebuild;
    this.#changes = changes;
  }

  /** Begins: waits for the known endpoints, takes up drains, watches. */
  start(): void {
    const { endpoints, drains } = this.state;
    const listed = this.#config.value.endpoints.map((e) => e.name);
    for (const name of [...listed, ...endpoints.namesOfThePast()]) endpoints.ensure(name);
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
    const before = this.#config.replace(next);
    this.state.analytics?.reconfigured(before.analytics);
    for (const { name } of next.endpoints) this.state.endpoints.ensure(name);
    this.state.endpoints.refreshWeights();
    this.#health.publishServices();
    this.state.coordinator.pump();
  }

  /** Resolves when what it remembers is on the disk. */
  async close(): Promise<void> {
    this.#changes.close();
    this.#health.close();
    this.sweep.close();
    this.state.protection.close();
    this.state.analytics?.close();
    this.#rebuild.close();
    this.state.drains.close();
    await this.state.collectors.close();
  }
}

/** Ids of one kind: the prefix, and a number of its own. */
function countUp(prefix: string): () => string {
  let n = 0;
  return () => `${prefix}${++n}`;
}
