/** What a move needs from outside, so that a test can play the endpoints and the map. */
import type { Clock, Counters } from '@restitch/core';
import type { MovesConfig } from '../config/index.js';
import type { Endpoint } from '../model/endpoint-registry.js';
import type { FlowBatch } from '../model/flow-batch.js';
import type { MoveState } from '../model/life-cycle.js';
import type { Move } from './move.js';

/** What a move works with. */
export interface MoveContext {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly batch: FlowBatch;
  /** Read at each use, so that a reload counts at once. */
  readonly policy: () => MovesConfig;
  /** Many moves run: what is not urgent may wait for company on the wire. */
  readonly isCrowded: () => boolean;
  /** Asks to go between hold and switch; answered by `admitted`. */
  readonly askAdmission: (move: Move) => void;
  /** Has left that time, or waits for it no more. */
  readonly leaveAdmission: (move: Move) => void;
  /** The record names the target from now on. */
  readonly onSwitched: (move: Move) => void;
  /** False while the endpoint may be dead: what is switched to it would not be taken over with the rest. */
  readonly mayReceive: (endpoint: Endpoint) => boolean;
  readonly onEnd: (move: Move) => void;
  /** Laboratory only: true keeps the move at the door of this state until `resume`. */
  readonly isPausedAt?: (move: Move, state: MoveState) => boolean;
}
