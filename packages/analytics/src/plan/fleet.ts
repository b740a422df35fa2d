/**
 * What the planner looks at: a fleet as columns of numbers. Typed arrays and not objects, because a million sessions must be
 * scored within a second and fit into 200 bytes each.
 */

/** Columns of sessions, indexed by handle 0..count − 1. Rates and loads are averages the caller keeps. */
export interface SessionColumns {
  readonly count: number;
  /** Endpoint the session is on; -1 = this handle is free. */
  readonly endpoint: Int32Array;
  /** Load it causes, in the unit of the endpoints' capacity. */
  readonly load: Float32Array;
  /** Size of its image. */
  readonly imageBytes: Float32Array;
  /** Expected remaining life in seconds, from the history of its client. */
  readonly lifeS: Float32Array;
  /** Seconds since it came to its endpoint. */
  readonly residenceS: Float32Array;
  /** Worth of an undisturbed session of this class; 1 is ordinary. */
  readonly weight: Float32Array;
  /** Probability that the client itself disturbs it; NaN = unknown. */
  readonly clientRisk: Float32Array;
  /** Bits of `SESSION_PINNED` and `SESSION_MOVING`. */
  readonly flags: Uint8Array;
  /** Region of the client, a row of `pathRisk`. */
  readonly region: Uint16Array;
  /** Endpoint that already holds a copy of its state, -1 = none. */
  readonly buddy: Int32Array;
  /** Labels its endpoint must have, and must not have (bit masks). */
  readonly require: Uint32Array;
  readonly forbid: Uint32Array;
  /** Its thresholds: an index into `FleetSnapshot.classes`; 0 = those of its endpoint. */
  readonly scoreClass: Uint8Array;
  /** Stable number that stands for the session where an order is needed; must not depend on the handle. */
  readonly key: Uint32Array;
}

/** The application does not allow it to move. */
export const SESSION_PINNED = 1;
/** A move is under way. */
export const SESSION_MOVING = 2;

/** Columns of endpoints. */
export interface EndpointColumns {
  readonly count: number;
  /** Load above which sessions are disturbed. */
  readonly limit: Float64Array;
  /** Load at the planning horizon, median and P90, without reservations. */
  readonly loadP50: Float64Array;
  readonly loadP90: Float64Array;
  /** Load it is expected to carry: the larger of now and the median; at the limit with the work that waits. */
  readonly loadExpected: Float64Array;
  /** 1 = at its limit now, or about to end: it is relieved whatever the doubt about its targets. */
  readonly rescue: Uint8Array;
  /** Load of moves under way towards it. */
  readonly reserved: Float64Array;
  /** Probability of crossing the limit and of failing within the horizon; NaN = unknown. */
  readonly overloadRisk: Float64Array;
  /** 1 = nothing is known of its load: `overloadRisk` is a guess, which is neither a reason to leave nor room to come. */
  readonly loadUnknown: Uint8Array;
  readonly failureRisk: Float64Array;
  /** Seconds until a certain event (drain, maintenance, spot notice) ends it; Infinity = none. */
  readonly eventInS: Float64Array;
  /** Seconds since it joined; a newcomer is filled gradually. */
  readonly ageS: Float64Array;
  /** 1 = may receive sessions. */
  readonly accepts: Uint8Array;
  readonly domain: Int32Array;
  readonly labels: Uint32Array;
  /** 1 = the planner relieved it in the last period (hysteresis). */
  readonly relieving: Uint8Array;
  /** 1 = to be emptied and switched off. */
  readonly emptying: Uint8Array;
  /** Score below which this endpoint is relieved; NaN = as the objective says. */
  readonly enterScore: Float64Array;
  /** Score at which its relief ends; NaN = as far above the other as the objective says. */
  readonly leaveScore: Float64Array;
  /** Load that its path can still carry; Infinity = not bounded by its path. */
  readonly pathRoom: Float64Array;
}

/** Thresholds of classes of sessions; class 0 is that of sessions without any. Columns by class. */
export interface ScoreClasses {
  readonly count: number;
  /** Score below which sessions of the class leave, and above which they stay again; NaN = as their endpoint's. */
  readonly enterScore: Float64Array;
  readonly leaveScore: Float64Array;
  /** 1 = the class was leaving the endpoint in the last period; class × endpoints.count + endpoint. */
  readonly relieving: Uint8Array;
}

/** A fleet at one moment. */
export interface FleetSnapshot {
  readonly sessions: SessionColumns;
  readonly endpoints: EndpointColumns;
  readonly regionCount: number;
  /** Probability that the path region → endpoint exceeds its limits; region × endpoints.count + endpoint; NaN = unknown. */
  readonly pathRisk: Float32Array;
  /** How near an endpoint is to the clients of a region, 0 to 1, laid out as `pathRisk`; absent: nobody knows. */
  readonly nearness?: Float32Array;
  /** Absent: all sessions go by the thresholds of their endpoints. */
  readonly classes?: ScoreClasses;
}

/** Empty columns for `count` sessions: on no endpoint, weight 1, everything else 0 or unknown. */
export function createSessionColumns(count: number): SessionColumns {
  return {
    count,
    endpoint: new Int32Array(count).fill(-1),
    load: new Float32Array(count),
    imageBytes: new Float32Array(count),
    lifeS: new Float32Array(count),
    residenceS: new Float32Array(count),
    weight: new Float32Array(count).fill(1),
    clientRisk: new Float32Array(count).fill(Number.NaN),
    flags: new Uint8Array(count),
    region: new Uint16Array(count),
    buddy: new Int32Array(count).fill(-1),
    require: new Uint32Array(count),
    forbid: new Uint32Array(count),
    scoreClass: new Uint8Array(count),
    key: new Uint32Array(count),
  };
}

/** Columns for `count` endpoints that accept sessions, without load, limits or risks. */
export function createEndpointColumns(count: number): EndpointColumns {
  return {
    count,
    limit: new Float64Array(count),
    loadP50: new Float64Array(count),
    loadP90: new Float64Array(count),
    loadExpected: new Float64Array(count),
    rescue: new Uint8Array(count),
    reserved: new Float64Array(count),
    overloadRisk: new Float64Array(count),
    loadUnknown: new Uint8Array(count),
    failureRisk: new Float64Array(count).fill(Number.NaN),
    eventInS: new Float64Array(count).fill(Number.POSITIVE_INFINITY),
    ageS: new Float64Array(count).fill(Number.POSITIVE_INFINITY),
    accepts: new Uint8Array(count).fill(1),
    domain: new Int32Array(count),
    labels: new Uint32Array(count),
    relieving: new Uint8Array(count),
    emptying: new Uint8Array(count),
    enterScore: new Float64Array(count).fill(Number.NaN),
    leaveScore: new Float64Array(count).fill(Number.NaN),
    pathRoom: new Float64Array(count).fill(Number.POSITIVE_INFINITY),
  };
}

/**
 * Load to believe of an endpoint: its own report, checked against the access point's own count. A report too low cannot
 * attract more than the counted sessions leave room for; one too high cannot dump sessions beyond what they can cause.
 * `perSession` is the usual load of a session in this fleet, `tolerance` the factor by which an honest report may differ.
 */
export function believableLoad(reported: number, counted: number, perSession: number, tolerance = 3): number {
  const expected = counted * perSession;
  if (!Number.isFinite(reported) || reported < 0) return expected;
  return Math.max(expected / tolerance, Math.min(reported, expected * tolerance + perSession));
}
