/** The daemon: puts its parts together, starts them in the right order and stops them again. */
import { randomBytes } from 'node:crypto';
import { RestitchError, createCounters, silentLogger, systemClock } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import { listenChannels } from '@restitch/channel';
import type { ChannelListener } from '@restitch/channel';
import type { Dataplane } from '@restitch/dataplane';
import { createAdminHandler } from './admin-commands.js';
import { openAdminServer } from './admin-server.js';
import type { AdminServer } from './admin-server.js';
import type { DaemonConfig } from './config/index.js';
import { ControlPlane } from './control-plane.js';
import { Coordinator } from './coordinator.js';
import type { DaemonState } from './daemon-state.js';
import { Drains } from './drains.js';
import { openEndpointIds } from './endpoint-ids.js';
import { EndpointRegistry } from './endpoint-registry.js';
import type { Endpoint } from './endpoint-registry.js';
import { createEventFeed } from './event-feed.js';
import { createFlowBatch } from './flow-batch.js';
import { FlowSweep } from './flow-sweep.js';
import { HealthMonitor } from './health-monitor.js';
import { createMoveHistory } from './history.js';
import { Rebuild } from './rebuild.js';
import { Reconciler } from './reconciler.js';
import { assertReloadable } from './reload.js';
import { SessionRegistry } from './session-registry.js';

/** What the daemon is started with. */
export interface AccessPointOptions {
  readonly config: DaemonConfig;
  readonly dataplane: Dataplane;
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly counters?: Counters;
  /** Reads and checks the configuration again; throws `config_invalid`. Without it, reload is refused. */
  readonly readConfig?: () => Promise<DaemonConfig>;
}

/** A running daemon. */
export interface AccessPoint {
  readonly state: DaemonState;
  /** Port of the control listener. */
  readonly controlPort: number;
  /** Takes the configuration up again; throws and keeps the old one if it is bad. */
  reload(): Promise<void>;
  /** Stops; programs and maps stay, traffic flows on. */
  close(): Promise<void>;
}

/** Starts a daemon over a data plane that is open. Throws what its listeners and files throw. */
export async function openAccessPoint(options: AccessPointOptions): Promise<AccessPoint> {
  const daemon = new Daemon(options);
  try {
    await daemon.start();
  } catch (error) {
    await daemon.close();
    throw error;
  }
  return daemon;
}

class Daemon implements AccessPoint {
  readonly state: DaemonState;
  #config: DaemonConfig;
  readonly #options: AccessPointOptions;
  readonly #control: ControlPlane;
  readonly #health: HealthMonitor;
  readonly #sweep: FlowSweep;
  readonly #rebuild: Rebuild;
  #listener: ChannelListener | undefined;
  #admin: AdminServer | undefined;

  constructor(options: AccessPointOptions) {
    const { config, dataplane, clock = systemClock, logger = silentLogger } = options;
    const { counters = createCounters() } = options;
    this.#options = options;
    this.#config = config;
    const base = { clock, logger, counters, dataplane };
    const endpoints = new EndpointRegistry(openEndpointIds(config.stateDirectory), (name) =>
      this.#weightOf(name),
    );
    const sessions = new SessionRegistry();
    const history = createMoveHistory(config.historyMoves);
    const feed = createEventFeed();
    history.watch((move) => {
      if (feed.isWatched) feed.emit({ t: 'move', atMs: clock.wallMs(), move });
    });
    const batch = createFlowBatch(dataplane, clock, counters);
    const policy = (): DaemonConfig['moves'] => this.#config.moves;
    const lingerMs = (): number => this.#config.flows.closingLingerMs;
    const newId = (): string => randomBytes(9).toString('base64url');
    const coordinator = new Coordinator({ ...base, batch, sessions, endpoints, history, policy, newId });
    const reconciler = new Reconciler({ ...base, batch, endpoints, sessions, lingerMs });
    const onChange = (): void => this.#health.publishServices();
    const { stateDirectory } = config;
    const drains = new Drains({ ...base, endpoints, coordinator, policy, stateDirectory, onChange });
    this.#control = new ControlPlane({
      ...base,
      accessPointName: config.name,
      batch,
      endpoints,
      sessions,
      coordinator,
      reconciler,
      drains,
      feed,
      heartbeatMs: () => this.#config.health.heartbeatMs,
      lingerMs,
      mayJoin: (name) => this.#mayJoin(name),
      onLiveness: (endpoint) => this.#onLiveness(endpoint),
    });
    this.#health = new HealthMonitor({
      ...base,
      endpoints,
      policy: () => this.#config.health,
      services: () => this.#config.listeners,
      setLiveness: (endpoint, liveness) => this.#control.setLiveness(endpoint, liveness),
      onDown: (endpoint) => reconciler.ownerGone(endpoint),
    });
    this.#sweep = new FlowSweep({ ...base, batch, endpoints, sessions, policy: () => this.#config.flows });
    this.#rebuild = new Rebuild({ ...base, endpoints, reconciler, graceMs: config.rebuildGraceMs });
    this.state = {
      ...base,
      endpoints,
      sessions,
      coordinator,
      drains,
      history,
      feed,
      reconciler,
      config: () => this.#config,
      isRebuilding: () => this.#rebuild.isRebuilding,
      startedAtMs: clock.wallMs(),
      reload: () => this.reload(),
    };
  }

  get controlPort(): number {
    return this.#listener?.port ?? 0;
  }

  async start(): Promise<void> {
    const { config } = this.#options;
    const { endpoints, drains, logger, counters, dataplane } = this.state;
    const expected = [...new Set([...config.endpoints.map((e) => e.name), ...endpoints.namesOfThePast()])];
    for (const name of expected) endpoints.ensure(name);
    this.#rebuild.start();
    drains.resumeSaved();
    this.#health.start();
    this.#sweep.start();
    const { listen, tls, maxMessageBytes, handshakeMs, maxConnections } = config.control;
    this.#admin = await openAdminServer(config.adminSocket, createAdminHandler(this.state), logger);
    this.#listener = await listenChannels({
      host: listen.address,
      port: listen.port,
      tls,
      allow: ['endpoint'],
      maxMessageBytes,
      handshakeMs,
      maxConnections,
      onChannel: (channel) => this.#control.accept(channel),
      logger,
      counters,
    });
    logger.info(
      { port: this.controlPort, adopted: dataplane.isAdopted, endpoints: expected },
      'access point started',
    );
  }

  async reload(): Promise<void> {
    const { readConfig } = this.#options;
    if (readConfig === undefined) throw new RestitchError('usage', 'this daemon was not started from a file');
    const next = await readConfig();
    assertReloadable(this.#config, next);
    this.#config = next;
    for (const { name } of next.endpoints) this.state.endpoints.ensure(name);
    this.state.endpoints.refreshWeights();
    this.#health.publishServices();
    this.state.coordinator.pump();
    this.state.logger.info({}, 'configuration reloaded');
  }

  async close(): Promise<void> {
    this.#health.close();
    this.#sweep.close();
    this.#rebuild.close();
    this.state.drains.close();
    await this.#listener?.close();
    await this.#admin?.close();
    this.state.dataplane.close();
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
    if (endpoint.liveness === 'healthy') this.state.coordinator.pump();
  }
}

/** The schema's default weight: an endpoint that is not listed counts like one that is. */
const defaultWeight = 100;
