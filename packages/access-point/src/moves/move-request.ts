/** What is asked for when a session is to move, and what whoever asked is told. */
import type { RestitchError } from '@restitch/core';
import type { MoveRecord } from '../model/history.js';
import type { MoveOrigin } from '../model/move-under-way.js';

/** What to move, where, and who wants it. */
export interface MoveRequest {
  readonly sessionId: string;
  /** Name of the endpoint it is to leave: the request is void once another owns the session. Left out: whoever does. */
  readonly from?: string;
  /** Name of the target; chosen when left out. */
  readonly target?: string;
  /** `session` and `recommended` are paced by `moves`; a session that asks is refused if that takes longer than 50 ms. */
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
