/** Everything that fills the inputs of the analytics engine, put together. */
import type { Clock, Counters, Logger } from '@restitch/core';
import type { TelemetryOrder } from '@restitch/wire/internal';
import type { Dataplane } from '@restitch/dataplane';
import type { IcmpEcho } from '@restitch/sys/internal';
import type { DaemonConfig } from '../config/index.js';
import type { Drains } from '../moves/drains.js';
import type { EventFeed } from '../model/event-feed.js';
import type { EndpointRegistry } from '../model/endpoint-registry.js';
import type { SessionRegistry } from '../model/session-registry.js';
import { ClientStore } from './client-store.js';
import { type InputHub, createInputHub } from './input-hub.js';
import { type Locations, noLocations, openLocations } from './locations.js';
import { Notices } from './notices.js';
import { PathProbes } from './path-probes.js';
import { OwnCountsReader } from './own-counts.js';
import { TelemetryIntake } from './telemetry-intake.js';

/** What the collectors work with. */
export interface CollectorsDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly drains: Drains;
  readonly feed: EventFeed;
  readonly config: () => DaemonConfig;
  /** ICMP for the paths; without it they are not probed. */
  readonly openEcho: (() => IcmpEcho) | undefined;
}

/** The schema's least: more often would cost more than it tells. */
const leastPeriodMs = 50;

/** See the head of the file. */
export class Collectors {
  readonly inputs: InputHub;
  readonly telemetry: TelemetryIntake;
  readonly notices: Notices;
  readonly paths: PathProbes;
  readonly clients: ClientStore;
  #locations: Locations = noLocations;
  readonly #config: () => DaemonConfig;

  constructor(deps: CollectorsDeps) {
    const { config, drains } = deps;
    this.#config = config;
    this.inputs = createInputHub(() => this.clients.inputs());
    const base = { ...deps, sink: this.inputs };
    const ownCounts = new OwnCountsReader(deps);
    this.telemetry = new TelemetryIntake({
      ...base,
      order: () => this.telemetryOrder,
      ownCounts,
      locationOf: (address) => this.locationOf(address),
    });
    this.clients = new ClientStore({
      ...base,
      directory: config().analytics.storeDirectory,
      retentionMs: () => config().inputs.clientRetentionMs,
      maxPrefixes: config().inputs.clientPrefixes,
      onEvent: (name, text) => {
        deps.logger.warn({ event: name }, text);
        if (deps.feed.isWatched) deps.feed.emit({ t: 'analytics', atMs: deps.clock.wallMs(), name, text });
      },
    });
    this.paths = new PathProbes({
      ...base,
      openEcho: deps.openEcho,
      ownCounts,
      intervalMs: () => config().inputs.probeIntervalMs,
      bandwidthBps: (name) => config().endpoints.find((e) => e.name === name)?.bandwidthBps,
    });
    this.notices = new Notices({
      ...base,
      stateDirectory: config().stateDirectory,
      maintenance: (name) => config().endpoints.find((e) => e.name === name)?.maintenance ?? [],
      drainDeadlineMs: (name) => drains.deadlineOf(name),
    });
  }

  /** Where a client is; undefined: unknown. */
  locationOf(address: string): string | undefined {
    return this.#locations.find(address);
  }

  /** Reads the tables of places; the old ones go on if they are bad. Throws `config_invalid`. */
  async openLocations(files: DaemonConfig['inputs']): Promise<void> {
    this.#locations = await openLocations(files);
  }

  /** What endpoints are asked to tell. */
  get telemetryOrder(): TelemetryOrder {
    const { analytics, inputs } = this.#config();
    const periodMs = Math.max(leastPeriodMs, analytics.engine.periodMs);
    return { periodMs, maxSessions: inputs.telemetrySessions };
  }

  start(): void {
    this.telemetry.start();
    this.notices.start();
    this.paths.start();
    this.clients.start();
    this.inputs.attach(this.clients);
  }

  /** Resolves when the past of clients is on the disk. */
  async close(): Promise<void> {
    this.telemetry.close();
    this.notices.close();
    this.paths.close();
    await this.clients.close();
  }
}
