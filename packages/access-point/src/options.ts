/** What a daemon is told: plain values, already checked by the configuration's schema. */
import type { SocketAddress } from '@restitch/core';
import type { TlsFiles } from '@restitch/channel';
import type { DataplaneOptions } from '@restitch/dataplane';

/** Deadlines of the steps of a move, in milliseconds; `budgetMs` runs from hold to switch. */
export interface MoveDeadlines {
  readonly reserveMs: number;
  readonly prepareMs: number;
  readonly budgetMs: number;
  readonly backOffMs: number;
  readonly activateMs: number;
  readonly confirmMs: number;
  readonly releaseMs: number;
  readonly revertMs: number;
}

/** How moves are paced and what follows a failed one. */
export interface MovePolicy {
  /** After a revert: leave the session where it is, or try the next endpoint. */
  readonly onFailure: 'revert' | 'next-target';
  /** Targets tried in all, with `next-target`. */
  readonly maxTargets: number;
  /** Further freezes of a session that was busy at the first. */
  readonly busyRetries: number;
  /** Moves under way at once, in all and at one endpoint (as source or target). */
  readonly maxConcurrent: number;
  readonly maxPerEndpoint: number;
  /** A recommended move waits until its session has been this long where it is. Manual moves do not. */
  readonly minResidenceMs: number;
  /** Recommended moves begun per second. */
  readonly recommendedPerSec: number;
}

/** How an endpoint's health is judged. */
export interface HealthPolicy {
  readonly heartbeatMs: number;
  /** Silence after which an endpoint gets no new flows. */
  readonly suspectAfterMs: number;
  /** Silence after which its connection is closed and it counts as down. */
  readonly downAfterMs: number;
  /** TCP connect to the endpoint's state address, 0 to leave out. */
  readonly probeEveryMs: number;
}

/** How long records outlive their sessions and their packets. */
export interface FlowPolicy {
  /** A flow without packets this long is asked for at its owner. */
  readonly idleMs: number;
  readonly sweepEveryMs: number;
  /** An ended session's record stays this long (TIME_WAIT), unless a new SYN takes it. */
  readonly lingerMs: number;
}

/** A virtual service; `weights` by endpoint name go before the endpoint's own. */
export interface ServiceOptions {
  readonly name: string;
  readonly vip: SocketAddress;
  readonly weights: Readonly<Record<string, number>>;
}

/** Drains that say nothing else. */
export interface DrainPolicy {
  readonly deadlineMs: number;
  readonly onDeadline: 'wait' | 'force' | 'reset';
}

/** Everything `openAccessPoint` needs. */
export interface AccessPointOptions {
  readonly name: string;
  readonly cluster: string;
  readonly controlListen: SocketAddress;
  readonly tls: TlsFiles;
  readonly adminSocket: string;
  /** Endpoint ids and drains are kept here over restarts. */
  readonly stateDirectory: string;
  readonly dataplane: DataplaneOptions;
  readonly services: readonly ServiceOptions[];
  /** Endpoints that are expected, with their weights; others may join with weight 1 if their certificate is right. */
  readonly endpoints: ReadonlyArray<{ readonly name: string; readonly weight: number }>;
  readonly deadlines: MoveDeadlines;
  readonly moves: MovePolicy;
  readonly health: HealthPolicy;
  readonly flows: FlowPolicy;
  readonly drain: DrainPolicy;
  /** How long new maps wait for expected endpoints before unknown flows are steered. */
  readonly rebuildGraceMs: number;
  /** Moves kept for `session show` and `moves`. */
  readonly historyMoves: number;
  /** Allows commands that only a laboratory needs (pausing a move at a step). */
  readonly lab: boolean;
}

/** A client resends after 200 ms at the earliest, so 50 ms of holding cannot cost it a retransmission timeout. */
export const defaultDeadlines: MoveDeadlines = {
  reserveMs: 1000,
  prepareMs: 5000,
  budgetMs: 50,
  backOffMs: 20,
  activateMs: 1000,
  confirmMs: 3000,
  releaseMs: 2000,
  revertMs: 5000,
};

/** 64 moves side by side keep both event loops busy; more only lengthens each hold. */
export const defaultMovePolicy: MovePolicy = {
  onFailure: 'revert',
  maxTargets: 3,
  busyRetries: 5,
  maxConcurrent: 64,
  maxPerEndpoint: 32,
  minResidenceMs: 10_000,
  recommendedPerSec: 100,
};

/** Five missed heartbeats are a pause of garbage collection no more. */
export const defaultHealthPolicy: HealthPolicy = {
  heartbeatMs: 500,
  suspectAfterMs: 2500,
  downAfterMs: 10_000,
  probeEveryMs: 0,
};

/** 60 s is Linux' TIME_WAIT (TCP_TIMEWAIT_LEN in include/net/tcp.h). */
export const defaultFlowPolicy: FlowPolicy = { idleMs: 300_000, sweepEveryMs: 10_000, lingerMs: 60_000 };
