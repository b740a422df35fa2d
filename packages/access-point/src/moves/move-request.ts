/** What is asked for when a session is to move, and what whoever asked is told. */
import type { RestitchError } from '@restitch/core';
import type { MoveRecord } from '../model/history.js';

/** Who wants a move: an operator, a drain, or the part that decides by itself. */
export type MoveOrigin = 'manual' | 'drain' | 'recommended';

/** What to move, where, and who wants it. */
export interface MoveRequest {
  readonly sessionId: string;
  /** Name of the target; chosen when left out. */
  readonly target?: string;
  readonly origin: MoveOrigin;
  /** Moves a pinned session too. */
  readonly isForced?: boolean;
  /** Among recommendations: higher goes first. */
  readonly priority?: number;
  /** The analytics want it, nobody else: they can be told to stop. */
  readonly isAutomatic?: boolean;
}

/** How it ended: the last attempt, after how many. */
export interface MoveResult {
  readonly attempts: number;
  readonly record: MoveRecord;
}

/** Called once: with the result, or with the error that kept a move from beginning. */
export type MoveDone = (result: MoveResult | RestitchError) => void;
