/**
 * The written objective of a plan: the sum over its moves of value = gain − cost, in expected disturbances of an ordinary
 * session. The planner and the linear-programming oracle of the benchmark read the same function.
 */
import { stabilityOf } from '../risk/stability-score.js';
import { type FleetSnapshot, SESSION_MOVING, SESSION_PINNED } from './fleet.js';

/** Prices and bounds of planning; `DEFAULT_OBJECTIVE` is documented in docs/analytics.md. */
export interface Objective {
  /** Seconds over which a disturbance counts; a session that lives shorter has less to lose. */
  readonly horizonS: number;
  /** Cost of a move in disturbances: the gap itself, each megabyte moved, rebuilding a replica elsewhere. */
  readonly gapCost: number;
  readonly costPerMb: number;
  readonly replicaCost: number;
  /** Price of a megabyte moved, in the operator's currency; shown with each move, not mixed into the value. Default 0. */
  readonly moneyPerMb: number;
  /** Probability that a move is reverted; a revert costs the gap twice. */
  readonly revertRatio: number;
  /** Worth of emptying an endpoint that is to be switched off, a session. */
  readonly emptyingGain: number;
  /** Worth of being served next to the client and not far away, a session: a preference among targets, no reason to move. */
  readonly nearGain: number;
  /** Fewest seconds on an endpoint, and fewest expected seconds to live, for a move that no certain event forces. */
  readonly minResidenceS: number;
  readonly minLifeS: number;
  /** Score below which an endpoint is relieved, and above which relief ends (hysteresis). */
  readonly enterScore: number;
  readonly leaveScore: number;
  /** 1 − path risk below which a single session is moved although its endpoint is well. */
  readonly pathEnterScore: number;
  /** Share of the limit up to which a target may be filled, counted at P90. */
  readonly fillRatio: number;
  /** Share of the limit down to which a source is relieved. */
  readonly relieveRatio: number;
  /** Seconds over which a newcomer's room grows to its full size. */
  readonly rampS: number;
  /** Moves a period: in all, from one source, to one target. */
  readonly maxMoves: number;
  readonly maxMovesPerSource: number;
  readonly maxMovesPerTarget: number;
}

/** Residence 60 s and life 30 s keep moves useful by the definition of the laboratory; the rest are plain orders of magnitude. */
export const DEFAULT_OBJECTIVE: Objective = {
  horizonS: 60,
  gapCost: 0.01,
  costPerMb: 0.005,
  replicaCost: 0.01,
  moneyPerMb: 0,
  revertRatio: 0.01,
  emptyingGain: 0.2,
  nearGain: 0.02,
  minResidenceS: 60,
  minLifeS: 30,
  enterScore: 0.85,
  leaveScore: 0.95,
  pathEnterScore: 0.6,
  fillRatio: 0.85,
  relieveRatio: 0.9,
  rampS: 60,
  maxMoves: 10_000,
  maxMovesPerSource: 1_000,
  maxMovesPerTarget: 200,
};

/** Probability that session `s` stays undisturbed on endpoint `e`. */
export function scoreOn(fleet: FleetSnapshot, s: number, e: number): number {
  const { endpoints, sessions } = fleet;
  return stabilityOf(
    endpoints.overloadRisk[e]!,
    endpoints.failureRisk[e]!,
    fleet.pathRisk[sessions.region[s]! * endpoints.count + e]!,
    sessions.clientRisk[s]!,
    Number.isFinite(endpoints.eventInS[e]!) ? 1 : 0,
  );
}

/** Doubt about a target that is expected to stay below its limit: it does so at least as likely as not. */
const EVEN_ODDS = 0.5;

/** Probability that nothing about endpoint `e` and the path to it disturbs `s`: its score without what its client does. */
export function placeScore(fleet: FleetSnapshot, s: number, e: number): number {
  return placeScoreAt(fleet, s, e, fleet.endpoints.overloadRisk[e]!);
}

/** The same for target `to`. Doubt about its load does not count in full where staying at `from` is sure to be worse. */
export function scoreThere(fleet: FleetSnapshot, s: number, from: number, to: number): number {
  const { overloadRisk, rescue } = fleet.endpoints;
  const load = overloadRisk[to]!;
  return placeScoreAt(fleet, s, to, rescue[from] === 1 && load > EVEN_ODDS ? EVEN_ODDS : load);
}

function placeScoreAt(fleet: FleetSnapshot, s: number, e: number, load: number): number {
  const { endpoints, sessions, pathRisk } = fleet;
  const path = pathRisk[sessions.region[s]! * endpoints.count + e]!;
  const event = Number.isFinite(endpoints.eventInS[e]!) ? 1 : 0;
  return stabilityOf(load, endpoints.failureRisk[e]!, path, Number.NaN, event);
}

/** Score of an endpoint without regard to a session: load, failure and events only. */
export function endpointScore(fleet: FleetSnapshot, e: number): number {
  const { endpoints } = fleet;
  const event = Number.isFinite(endpoints.eventInS[e]!) ? 1 : 0;
  return stabilityOf(endpoints.overloadRisk[e]!, endpoints.failureRisk[e]!, Number.NaN, Number.NaN, event);
}

/** The same without a load that is only guessed: thresholds are for what is known. */
function knownScore(fleet: FleetSnapshot, e: number): number {
  const { endpoints } = fleet;
  if (endpoints.loadUnknown[e] === 0) return endpointScore(fleet, e);
  const event = Number.isFinite(endpoints.eventInS[e]!) ? 1 : 0;
  return stabilityOf(Number.NaN, endpoints.failureRisk[e]!, Number.NaN, Number.NaN, event);
}

/** How much of a session's worth is still ahead of it within the horizon, 0..weight. */
export function worthOf(fleet: FleetSnapshot, s: number, horizonS: number): number {
  const { weight, lifeS } = fleet.sessions;
  return weight[s]! * Math.min(1, lifeS[s]! / horizonS);
}

/**
 * How much more a session counts because its endpoint is sure to end: what is not moved in time cannot be moved later. Twice
 * at the horizon, ever more towards the deadline; 1 without an event.
 */
export function urgencyOf(fleet: FleetSnapshot, objective: Objective, e: number): number {
  const eventInS = fleet.endpoints.eventInS[e]!;
  return Number.isFinite(eventInS) ? 1 + objective.horizonS / Math.max(eventInS, 1) : 1;
}

/**
 * Expected disturbances avoided by moving `s` from `from` to `to`, times the urgency of the source. The client's own resets do not
 * count: it takes its habits along, and how long it stays is in the worth.
 */
export function gainOf(
  fleet: FleetSnapshot,
  objective: Objective,
  s: number,
  from: number,
  to: number,
): number {
  const better = scoreThere(fleet, s, from, to) - placeScore(fleet, s, from);
  const emptied = fleet.endpoints.emptying[from]! * objective.emptyingGain;
  const nearer = objective.nearGain * nearerBy(fleet, s, from, to);
  return (
    worthOf(fleet, s, objective.horizonS) * urgencyOf(fleet, objective, from) * (better + emptied + nearer)
  );
}

/** How much nearer to its client `to` is than `from`, −1 to 1; 0 where places are unknown. */
export function nearerBy(fleet: FleetSnapshot, s: number, from: number, to: number): number {
  const { nearness } = fleet;
  if (nearness === undefined) return 0;
  const row = fleet.sessions.region[s]! * fleet.endpoints.count;
  return nearness[row + to]! - nearness[row + from]!;
}

/** Expected disturbances caused by the move itself. */
export function costOf(fleet: FleetSnapshot, objective: Objective, s: number, to: number): number {
  const { sessions } = fleet;
  const buddy = sessions.buddy[s]!;
  const mb = megabytesOf(fleet, s, to);
  const replica = buddy >= 0 && buddy !== to ? objective.replicaCost : 0;
  return objective.gapCost * (1 + 2 * objective.revertRatio) + objective.costPerMb * mb + replica;
}

/** Megabytes a move sends; a buddy holds the state already, so only the difference travels, taken as a tenth. */
export function megabytesOf(fleet: FleetSnapshot, s: number, to: number): number {
  return (fleet.sessions.imageBytes[s]! / 1e6) * (fleet.sessions.buddy[s] === to ? 0.1 : 1);
}

/** Whether `s` may be moved at all now; a certain event overrides residence and life. */
export function isMovable(fleet: FleetSnapshot, objective: Objective, s: number): boolean {
  const { sessions, endpoints } = fleet;
  const from = sessions.endpoint[s]!;
  if (from < 0 || (sessions.flags[s]! & (SESSION_PINNED | SESSION_MOVING)) !== 0) return false;
  // A session with impossible telemetry stays where it is: neither its gain nor the room it needs can be told.
  if (!isAmount(sessions.load[s]!) || !isAmount(sessions.imageBytes[s]!) || !isAmount(sessions.weight[s]!))
    return false;
  if (!(sessions.lifeS[s]! >= 0)) return false;
  if (Number.isFinite(endpoints.eventInS[from]!)) return true;
  // Up to a quarter more residence, by the session's key: sessions that came together do not leave together.
  const jitter = 1 + (sessions.key[s]! % 256) / 1024;
  return (
    sessions.residenceS[s]! >= objective.minResidenceS * jitter && sessions.lifeS[s]! >= objective.minLifeS
  );
}

/** Whether target `e` is allowed for `s` by labels, failure domains and state, capacity aside. */
export function isAllowed(fleet: FleetSnapshot, s: number, e: number): boolean {
  const { sessions, endpoints } = fleet;
  if (endpoints.accepts[e] === 0 || e === sessions.endpoint[s]! || Number.isFinite(endpoints.eventInS[e]!))
    return false;
  if (endpoints.emptying[e] === 1) return false;
  const labels = endpoints.labels[e]!;
  if ((labels & sessions.require[s]!) >>> 0 !== sessions.require[s]! || (labels & sessions.forbid[s]!) !== 0)
    return false;
  const buddy = sessions.buddy[s]!;
  // The copy must survive what takes the session: another failure domain, unless the session moves to the copy itself.
  return buddy < 0 || buddy === e || endpoints.domain[buddy] !== endpoints.domain[e];
}

/** Room of a target at P90 for loads of moves, 0 when none; a newcomer's grows with its age. */
export function roomOf(fleet: FleetSnapshot, objective: Objective, e: number): number {
  return roomBeside(fleet, objective, e, fleet.endpoints.loadP90[e]!);
}

/**
 * Room of a target for what must leave its endpoint: beside the load that is expected, not that which is possible. There as many
 * seconds of overload are to be expected here as there when the median reaches the limit.
 */
export function rescueRoomOf(fleet: FleetSnapshot, objective: Objective, e: number): number {
  return fleet.endpoints.rescue[e] === 1
    ? 0
    : roomBeside(fleet, objective, e, fleet.endpoints.loadExpected[e]!);
}

function roomBeside(fleet: FleetSnapshot, objective: Objective, e: number, load: number): number {
  const { endpoints } = fleet;
  if (endpoints.accepts[e] === 0) return 0;
  const ramp = objective.rampS > 0 ? Math.max(0, Math.min(1, endpoints.ageS[e]! / objective.rampS)) : 1;
  const limit = endpoints.limit[e]!;
  const taken = load + endpoints.reserved[e]!;
  if (!isAmount(limit) || !isAmount(load) || !isAmount(endpoints.reserved[e]!)) return 0;
  const room = Math.max(0, (objective.fillRatio * limit - taken) * ramp) || 0;
  return Math.min(room, Math.max(0, endpoints.pathRoom[e]!));
}

/** Whether a number can be an amount: finite and not negative. */
function isAmount(value: number): boolean {
  return value >= 0 && value < Number.POSITIVE_INFINITY;
}

/**
 * Load a source should lose: all of it before a certain event or when it is to be emptied; what lies above the relief level
 * when its score is too low; else 0.
 */
export function needOf(fleet: FleetSnapshot, objective: Objective, e: number): number {
  const { endpoints } = fleet;
  if (Number.isFinite(endpoints.eventInS[e]!) || endpoints.emptying[e] === 1) return Number.POSITIVE_INFINITY;
  if (endpoints.rescue[e] === 1)
    return Math.max(0, endpoints.loadExpected[e]! - objective.relieveRatio * endpoints.limit[e]!) || 0;
  if (!(knownScore(fleet, e) < thresholdOf(fleet, objective, e))) return 0;
  const above = endpoints.loadP90[e]! - objective.relieveRatio * endpoints.limit[e]!;
  // A bad score that is not about load (a failing machine) asks for everything.
  const failing = endpoints.failureRisk[e]! > endpoints.overloadRisk[e]!;
  if (failing) return Number.POSITIVE_INFINITY;
  // An unknown load is no reason to move anything.
  return above > 0 && endpoints.loadUnknown[e] === 0 ? above : 0;
}

/** Score below which endpoint `e` is relieved now: a higher one while it is being relieved (hysteresis). */
export function thresholdOf(fleet: FleetSnapshot, objective: Objective, e: number): number {
  const { endpoints } = fleet;
  const enter = known(endpoints.enterScore[e]!, objective.enterScore);
  // An endpoint's own threshold keeps the hysteresis of the objective unless it has its own, too.
  const leave = known(endpoints.leaveScore[e]!, enter + (objective.leaveScore - objective.enterScore));
  return endpoints.relieving[e] === 1 ? Math.max(enter, leave) : enter;
}

/**
 * Whether sessions of class `c` are to leave endpoint `e` by the threshold of their class; undefined when the class has none
 * and the endpoint's decides.
 */
export function isClassLeaving(
  fleet: FleetSnapshot,
  objective: Objective,
  c: number,
  e: number,
): boolean | undefined {
  const { classes, endpoints } = fleet;
  const enter = classes?.enterScore[c];
  if (classes === undefined || enter === undefined || Number.isNaN(enter)) return undefined;
  const leave = known(classes.leaveScore[c]!, enter + (objective.leaveScore - objective.enterScore));
  const wasLeaving = classes.relieving[c * endpoints.count + e] === 1;
  return knownScore(fleet, e) < (wasLeaving ? Math.max(enter, leave) : enter);
}

function known(value: number, otherwise: number): number {
  return Number.isNaN(value) ? otherwise : value;
}
