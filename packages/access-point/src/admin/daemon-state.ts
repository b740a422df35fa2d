/** The parts of a running daemon, for those of its modules that look at all of them. */
import type { Clock, Counters, Logger } from '@restitch/core';
import type { Dataplane } from '@restitch/dataplane';
import type { DaemonConfig } from '../config/index.js';
import type { Coordinator } from '../moves/coordinator.js';
import type { Drains } from '../moves/drains.js';
import type { EndpointRegistry } from '../model/endpoint-registry.js';
import type { EventFeed } from '../model/event-feed.js';
import type { MoveHistory } from '../model/history.js';
import type { AnalyticsHost } from '../analytics/analytics-host.js';
import type { Collectors } from '../analytics/collectors.js';
import type { InputHub } from '../analytics/input-hub.js';
import type { Protection } from '../failover/protection.js';
import type { Reconciler } from '../ownership/reconciler.js';
import type { SessionRegistry } from '../model/session-registry.js';
import type { TakeOverHistory } from '../model/take-over-history.js';

/** Everything the admin commands may look at. */
export interface DaemonState {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly dataplane: Dataplane;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly coordinator: Coordinator;
  readonly drains: Drains;
  readonly history: MoveHistory;
  readonly takeOverHistory: TakeOverHistory;
  readonly feed: EventFeed;
  readonly reconciler: Reconciler;
  readonly protection: Protection;
  /** Telemetry, notices, paths, clients: who fills `inputs`. */
  readonly collectors: Collectors;
  /** The engine's host; undefined in a daemon without analytics. */
  readonly analytics: AnalyticsHost | undefined;
  /** Everything measured, for the analytics engine. */
  readonly inputs: InputHub;
  readonly config: () => DaemonConfig;
  readonly isRebuilding: () => boolean;
  readonly startedAtMs: number;
  /** Reads the configuration again; throws `config_invalid` and keeps the old one if it is bad. */
  readonly reload: () => Promise<void>;
}
