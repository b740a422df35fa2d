/**
 * What the engine is told and what it says, as plain data: a recording is these inputs, one JSON object a line, and the same
 * inputs give the same outputs. Times are the access point's monotonic milliseconds; the engine reads no clock.
 */
import type { EndpointMetrics, SessionTelemetry } from '@restitch/wire/internal';
import type { BrakeReason } from '../control/brakes.js';
import type { ActiveRule, AnalyticsMode } from '../control/mode-governor.js';
import type { StoredHistory } from '../risk/client-history.js';

/** One endpoint of the fleet as the access point knows it; what is absent is unknown or as the defaults say. */
export interface FleetEndpoint {
  readonly name: string;
  /** May be given sessions now: healthy, and not drained. */
  readonly accepts: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  /** Sessions it may hold at most. */
  readonly capacitySessions?: number;
  /** Score below which it is relieved; the objective's without it. */
  readonly enterScore?: number;
  /** Score above which its relief ends; as far above the other as the objective's without it. */
  readonly leaveScore?: number;
  /** To be emptied and switched off. */
  readonly isEmptying?: boolean;
  /** When it became able to take sessions; absent: it always was. */
  readonly joinedAtMs?: number;
}

/** Bytes and packets the access point itself counted for an endpoint, since it began. */
export interface OwnCounts {
  readonly bytes: number;
  readonly packets: number;
}

/** A certain event. */
export type NoticeKind = 'drain' | 'maintenance' | 'preemption' | 'none';

/** What happened to a session. `refused`: a planned move did not begin, or ended without having moved anything. */
type SessionEventKind = 'opened' | 'ended' | 'moved' | 'reverted' | 'refused' | 'pinned' | 'unpinned';

/** One input. */
export type EngineInput =
  | {
      readonly kind: 'endpoint';
      readonly atMs: number;
      readonly endpoint: string;
      readonly metrics: EndpointMetrics;
    }
  | {
      readonly kind: 'sessions';
      readonly atMs: number;
      readonly endpoint: string;
      /** Sessions the endpoint has in all, reported here or not. */
      readonly total: number;
      readonly sessions: readonly SessionTelemetry[];
      readonly ownCounts?: OwnCounts;
    }
  | {
      readonly kind: 'path';
      readonly atMs: number;
      readonly endpoint: string;
      readonly rttMs?: number;
      readonly lossRatio?: number;
      readonly bandwidthBps?: number;
      readonly bandwidthFrom?: 'configured' | 'learned';
    }
  | {
      readonly kind: 'notice';
      readonly atMs: number;
      readonly endpoint: string;
      readonly what: NoticeKind;
      readonly deadlineAtMs: number;
    }
  | {
      readonly kind: 'session';
      readonly atMs: number;
      readonly what: SessionEventKind;
      readonly session: string;
      /** Where it is (after a move: its target). */
      readonly endpoint: string;
      /** The client's address. */
      readonly client?: string;
      readonly listener?: string;
      /** Where the client is, as the operator's table says. */
      readonly location?: string;
      /** Of a session that ended: how. `reset`: by its client's RST. */
      readonly end?: 'reset' | 'closed';
      /** How old it was at `atMs`. */
      readonly ageMs?: number;
      /** The endpoint that holds a copy of its state. */
      readonly buddy?: string;
      readonly imageBytes?: number;
    }
  | { readonly kind: 'fleet'; readonly atMs: number; readonly endpoints: readonly FleetEndpoint[] }
  /** The endpoint failed: its process ended, or it was declared dead. */
  | { readonly kind: 'failed'; readonly atMs: number; readonly endpoint: string }
  | { readonly kind: 'mode'; readonly atMs: number; readonly mode: AnalyticsMode }
  | { readonly kind: 'accept'; readonly atMs: number; readonly planId: number }
  /** What is known of clients, from the store; replaces what the engine had. */
  | { readonly kind: 'history'; readonly atMs: number; readonly stored: StoredHistory }
  | { readonly kind: 'erase'; readonly atMs: number; readonly prefix: string }
  /** Fits models; heavy, given between ticks. `byOperator`: whether or not it is due. */
  | { readonly kind: 'train'; readonly atMs: number; readonly byOperator?: boolean }
  | { readonly kind: 'rollback'; readonly atMs: number }
  /** What the operator's own model says of each endpoint, in the order of `AnalyticsEngine.ownModelRows`; null = nothing. */
  | {
      readonly kind: 'own-scores';
      readonly atMs: number;
      readonly scores: readonly (number | null)[];
    }
  | { readonly kind: 'tick'; readonly atMs: number };

/** One move of a plan, by names. */
export interface EngineMove {
  readonly session: string;
  readonly from: string;
  readonly to: string;
  /** Score where it is, and where it would be. */
  readonly score: number;
  readonly scoreThere: number;
  readonly gain: number;
  readonly cost: number;
  readonly money: number;
  /** Absolute; the time by which it should have happened. */
  readonly deadlineAtMs: number;
  /** Higher goes first. */
  readonly priority: number;
  readonly reasons: readonly string[];
}

/** What becomes of a plan: carried out, waits for an accept, or is only shown. */
type Disposition = 'move' | 'ask' | 'show' | 'nothing';

/** A plan of one tick. */
export interface PlanOutput {
  readonly kind: 'plan';
  readonly atMs: number;
  readonly planId: number;
  readonly disposition: Disposition;
  readonly rule: ActiveRule;
  readonly moves: readonly EngineMove[];
  /** Load in CPUs that should move and found no place, and where it is. */
  readonly insufficientCapacity?: { readonly missing: number; readonly endpoints: readonly string[] };
}

/** Verdicts of one endpoint: the whole truth of it until the next generation, or until they expire. */
export interface VerdictsOutput {
  readonly kind: 'verdicts';
  readonly endpoint: string;
  readonly generation: number;
  readonly expiresInMs: number;
  readonly verdicts: readonly { readonly session: string; readonly target: string }[];
}

/** Names of the engine's events. */
export type EngineEventName =
  | 'mode'
  | 'fell-back'
  | 'returned'
  | 'brake-pulled'
  | 'brake-released'
  | 'insufficient-capacity'
  | 'model-trained'
  | 'model-promoted'
  | 'model-discarded'
  | 'model-rolled-back'
  | 'cold-start'
  | 'own-model-failed'
  | 'uncertain'
  | 'inputs-dropped';

/** Something an operator wants to know. */
export interface EventOutput {
  readonly kind: 'event';
  readonly atMs: number;
  readonly name: EngineEventName;
  readonly text: string;
  readonly brake?: BrakeReason;
}

/** One output. */
export type EngineOutput = PlanOutput | VerdictsOutput | EventOutput;
