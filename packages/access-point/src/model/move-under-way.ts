/** A move as everybody sees it who does not drive it: the registries, the history, whoever has news for it. */
import type { Flow, RestitchError } from '@restitch/core';
import type { Endpoint } from './endpoint-registry.js';
import type { MoveEvent, MoveOutcome, MoveState } from './life-cycle.js';
import type { MoveStep } from '@restitch/wire/internal';
import type { Session } from './session-registry.js';

/** Who wants a move: an operator or an application, a session that was told it had better, a drain, or the plan. */
export type MoveOrigin = 'manual' | 'session' | 'drain' | 'recommended';

/** Why a move did not commit, and at which step. */
export interface MoveFailure {
  readonly step: MoveStep;
  readonly code: string;
  readonly message: string;
}

/** What is known of a move; `moves/move.ts` is the one that runs. */
export interface MoveUnderWay {
  readonly id: string;
  readonly origin: MoveOrigin;
  readonly session: Session;
  readonly flow: Flow;
  readonly source: Endpoint;
  readonly target: Endpoint;
  readonly fromEpoch: number;
  readonly epoch: number;
  readonly state: MoveState;
  /** Undefined until it has ended. */
  readonly outcome: MoveOutcome | undefined;
  /** The record names an owner that serves, or the move never came to hold it. */
  readonly isHoldOver: boolean;
  readonly failure: MoveFailure | undefined;
  /** Committed, but the client's own acknowledgement was not seen in time. */
  readonly isUnconfirmed: boolean;
  readonly startedAtMs: number;
  /** CLOCK_MONOTONIC; those that have not come yet are 0n. */
  readonly startedNs: bigint;
  readonly holdNs: bigint;
  readonly switchNs: bigint;
  readonly confirmedNs: bigint;
  readonly endedNs: bigint;
  readonly busyTries: number;
  /** Figures the endpoints reported: freezeUs, thawUs, imageBytes, serverRtos. */
  readonly figures: Readonly<Record<string, number>>;
  /** States gone through with CLOCK_MONOTONIC milliseconds. */
  readonly steps: ReadonlyArray<{ readonly state: MoveState; readonly atMs: number }>;
  /** Something happened. `error` says why, where there is a why. False if it meant nothing to this move. */
  post(event: MoveEvent, error?: RestitchError): boolean;
}
