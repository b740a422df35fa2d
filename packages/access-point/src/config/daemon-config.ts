/** The daemon's configuration as the rest of the daemon sees it: checked, defaults filled in, units in the names. */
import type { SocketAddress } from '@restitch/core';
import type { EngineOptions } from '@restitch/analytics';
import type { TlsFiles } from '@restitch/channel';

/** A virtual service: new flows to `vip` are spread over the endpoints that offer a listener of this name. */
export interface ListenerConfig {
  readonly name: string;
  readonly vip: SocketAddress;
  /** Weight by endpoint name for this listener; it goes before the endpoint's own weight. */
  readonly weights: Readonly<Record<string, number>>;
}

/** What is known of an endpoint before it connects. */
export interface EndpointConfig {
  readonly name: string;
  /** Share of new flows, relative to the others; 0 gives it none. */
  readonly weight: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Most sessions it takes; undefined leaves it to what the endpoint says. */
  readonly capacitySessions?: number;
  /** Times in which it is not to be counted on. */
  readonly maintenance: readonly MaintenanceWindow[];
  /** Bits a second from the access point to it; undefined: learned. */
  readonly bandwidthBps?: number;
  /** Scores at which the analytics begin and end to relieve it; those of `analytics.scores` without them. */
  readonly scores?: { readonly enter: number; readonly leave?: number | undefined } | undefined;
}

/** A time in which an endpoint is not to be counted on. Wall time. */
export interface MaintenanceWindow {
  readonly startAtMs: number;
  readonly durationMs: number;
  /** So long before its start the sessions begin to leave. */
  readonly noticeMs: number;
}

/** What the analytics are told; see docs/analytics.md. */
export interface InputsConfig {
  readonly telemetrySessions: number;
  /** Unix socket of the HTTP hook; undefined: none. */
  readonly noticeSocket?: string;
  /** 0: no probes. */
  readonly probeIntervalMs: number;
  readonly locationsFile?: string;
  readonly locationDatabaseFile?: string;
  readonly clientRetentionMs: number;
  readonly clientPrefixes: number;
}

/** Longest time of each step of a move, in milliseconds. */
interface MoveDeadlines {
  readonly reserveMs: number;
  readonly prepareMs: number;
  readonly activateMs: number;
  /** Without the client's own acknowledgement in this time a move ends as committed, unconfirmed. */
  readonly confirmMs: number;
  readonly releaseMs: number;
  /** A source that does not answer a revert in this time is disconnected; it reconnects and is reconciled. */
  readonly revertMs: number;
}

/** How moves are run. */
export interface MovesConfig {
  /** From hold to switch, all steps between them together. */
  readonly budgetMs: number;
  readonly deadlines: MoveDeadlines;
  /** Moves between prepare and release at the same time, in all. */
  readonly concurrency: number;
  /** The same for each endpoint, as source and target together. */
  readonly endpointConcurrency: number;
  /** Moves by recommendation, or by sessions that ask, begun in a second; undefined is no limit. */
  readonly perSecond?: number;
  /** A session moved by recommendation stays at least so long before the next; a manual move overrides. */
  readonly minimumResidenceMs: number;
  /** Further freezes of a session that was busy at the first, and the pause before each. */
  readonly busyRetries: number;
  readonly busyPauseMs: number;
  /** Recommendations that wait; more are refused. */
  readonly maxQueued: number;
  /** After a failure before the switch: back to the source, or the next target first. */
  readonly onTargetFailure: 'revert' | 'next-target';
  /** Targets tried in one move when `onTargetFailure` is next-target. */
  readonly maxTargets: number;
}

/** When an endpoint is thought to be well. */
export interface HealthConfig {
  readonly heartbeatMs: number;
  /** Nothing heard for so long: no new flows, existing ones stay. */
  readonly suspectAfterMs: number;
  /** Nothing heard for so long: dead. */
  readonly deadAfterMs: number;
  /** Optional TCP connect to the address where the endpoint takes images: its process and its host answer. */
  readonly tcpProbe?: { readonly intervalMs: number; readonly timeoutMs: number };
}

/** The part that decides by itself; see docs/analytics.md. */
export interface AnalyticsConfig {
  /** What the engine is set up with; `mode` is where it starts. */
  readonly engine: EngineOptions;
  /** Where models and the history of clients are kept. */
  readonly storeDirectory: string;
  /** Everything the engine is told is written here from the start on. */
  readonly recordFile?: string;
  /** ONNX model of the operator's; the engine's `ownModel` says of which metric. */
  readonly ownModelFile?: string;
}

/** Bounds of the flow table. */
export interface FlowsConfig {
  readonly maxFlows: number;
  readonly maxHalfOpen: number;
  readonly sweepIntervalMs: number;
  /** Flows without a packet for so long are asked about at the next sweep. */
  readonly idleAfterMs: number;
  /** An entry outlives its socket by this: longer than Linux' TIME_WAIT of 60 s. */
  readonly closingLingerMs: number;
}

/** Drains without their own wish. */
export interface DrainConfig {
  readonly deadlineMs: number;
  /** When the deadline passes: keep trying, move also pinned and busy sessions, or reset the rest. */
  readonly onDeadline: 'wait' | 'force' | 'reset';
}

/** The whole configuration of one access point. */
export interface DaemonConfig {
  readonly name: string;
  readonly cluster: string;
  /** Interface on the VIP's network. */
  readonly interfaceName: string;
  readonly pinDirectory: string;
  /** What must survive a reboot of the host; made when absent. */
  readonly stateDirectory: string;
  readonly holdDevice: string;
  readonly adminSocket: string;
  readonly control: {
    readonly listen: SocketAddress;
    readonly tls: TlsFiles;
    readonly maxMessageBytes: number;
    readonly handshakeMs: number;
    readonly maxConnections: number;
  };
  readonly listeners: readonly ListenerConfig[];
  /** `certificate`: whoever has an endpoint certificate of the cluster may join. `listed`: only those in `endpoints`. */
  readonly registration: 'certificate' | 'listed';
  readonly endpoints: readonly EndpointConfig[];
  readonly hold: { readonly flowBytes: number; readonly totalBytes: number };
  readonly moves: MovesConfig;
  readonly health: HealthConfig;
  readonly flows: FlowsConfig;
  readonly drain: DrainConfig;
  readonly analytics: AnalyticsConfig;
  readonly inputs: InputsConfig;
  /** After a restart of the host: how long unknown flows wait for expected endpoints to announce theirs. */
  readonly rebuildGraceMs: number;
  /** Ended moves that are kept for `session show`. */
  readonly historyMoves: number;
  /** Allows commands that only a laboratory needs (pausing moves at a step). */
  readonly isLab: boolean;
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' };
}
