/** What the parts of the planner share. */
import type { FleetSnapshot } from './fleet.js';
import type { Objective } from './objective.js';

/** Everything derived from a snapshot once. */
export interface PlanContext {
  readonly fleet: FleetSnapshot;
  readonly objective: Objective;
  /** Load each endpoint should lose. */
  readonly need: Float64Array;
  /** 1 = the endpoint itself is well, only single sessions leave it (`need` is infinite then). */
  readonly onlySingle: Uint8Array;
  /** What the thresholds of classes say, class × endpoints + endpoint: 0 nothing, 1 stay, 2 leave. */
  readonly leaving: Uint8Array;
  /** Load each endpoint may gain, and what it may gain from endpoints that are rescued. */
  readonly room: Float64Array;
  readonly rescueRoom: Float64Array;
  /** Endpoints that may receive, best first. */
  readonly targets: Int32Array;
  /** Sessions that may move. */
  readonly candidates: Int32Array;
  /** Score of each endpoint without regard to a session. */
  readonly score: Float64Array;
}

/** Shadow prices of one unit of load at a target and at a source, and of one move. */
export interface Prices {
  readonly target: Float64Array;
  readonly source: Float64Array;
  readonly move: number;
}
