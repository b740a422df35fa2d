/**
 * From a fleet to a prioritised list of moves. Sources in need offer their sessions, best value per unit of load first; each
 * goes to the allowed target where its value is highest at present prices, while budgets and rooms last.
 * A greedy rule with prices and not an exact solver: it plans a million sessions in a second, and stays within a few percent
 * of the linear-programming bound (measured by the planner benchmark with HiGHS as the oracle).
 */
import type { FleetSnapshot } from './fleet.js';
import {
  costOf,
  DEFAULT_OBJECTIVE,
  endpointScore,
  gainOf,
  isAllowed,
  isClassLeaving,
  isMovable,
  megabytesOf,
  nearerBy,
  needOf,
  type Objective,
  placeScore,
  rescueRoomOf,
  roomOf,
  scoreOn,
  scoreThere,
  urgencyOf,
  worthOf,
} from './objective.js';
import { chooseItems } from './knapsack.js';
import type { PlanContext, Prices } from './plan-context.js';
import { findPrices } from './prices.js';
import { sortByKeyDescending } from './sort-keys.js';

/** One recommended move. */
interface PlannedMove {
  /** Handle of the session. */
  readonly session: number;
  readonly from: number;
  readonly to: number;
  /** Score where it is, and where it would be. */
  readonly score: number;
  readonly scoreThere: number;
  /** Expected disturbances avoided and caused. */
  readonly gain: number;
  readonly cost: number;
  /** Price of the bytes moved, when prices are configured. */
  readonly money: number;
  /** Seconds from now by which it should have happened. */
  readonly deadlineS: number;
  readonly reasons: readonly string[];
}

/** What the fleet lacks. */
interface InsufficientCapacity {
  /** Load that should move and found no place, in the unit of the limits. */
  readonly missing: number;
  /** Sources it is on. */
  readonly endpoints: readonly number[];
}

/** A plan; carrying it out is not its business. */
export interface Plan {
  /** Most urgent first, then most valuable. */
  readonly moves: readonly PlannedMove[];
  readonly insufficientCapacity: InsufficientCapacity | undefined;
  /** 1 = relieved in this period; becomes `relieving` of the next snapshot. */
  readonly relieving: Uint8Array;
  /** 1 = sessions of the class are leaving; class × endpoints + endpoint; becomes `classes.relieving` of the next snapshot. */
  readonly relievingClasses: Uint8Array;
  /** Sum of gain − cost. */
  readonly value: number;
}

/** How much more an empty target is worth than a full one; what is forecast of both is never so exact. */
const SPREAD = 0.05;
/** A search with prices must gain this to be preferred: it fills one target after the other. */
const PRICED_GAIN = 1.01;
/** Added to the logarithm of a worth: more than worths differ. */
const RESCUE_FIRST = 1000;
/** Cells (candidates × targets) up to which prices are searched; beyond it the first greedy pass stands. */
const PRICE_SEARCH_CELLS = 400_000;

/** Plans the moves of one period. The same snapshot and objective give the same plan; the order of handles does not matter. */
export function planMoves(fleet: FleetSnapshot, objective: Objective = DEFAULT_OBJECTIVE): Plan {
  const context = preparePlan(fleet, objective);
  const order = orderCandidates(context);
  let best = assign(context, order, undefined);
  const targets = context.targets.length;
  const cells = order.length * targets;
  if (targets > 0 && cells > 0 && cells <= PRICE_SEARCH_CELLS) {
    for (const prices of findPrices(context, order)) {
      const next = assign(context, order, prices);
      if (next.value > PRICED_GAIN * best.value) best = next;
    }
  }
  return toPlan(context, best);
}

/** Derives needs, rooms, targets and candidates; the oracle of the benchmark builds its constraints from the same numbers. */
export function preparePlan(fleet: FleetSnapshot, objective: Objective): PlanContext {
  const { endpoints, sessions } = fleet;
  const need = new Float64Array(endpoints.count);
  const room = new Float64Array(endpoints.count);
  const rescueRoom = new Float64Array(endpoints.count);
  const isRescue = endpoints.rescue.includes(1);
  const score = new Float64Array(endpoints.count);
  const targets: number[] = [];
  for (let e = 0; e < endpoints.count; e++) {
    need[e] = needOf(fleet, objective, e);
    score[e] = endpointScore(fleet, e);
    // A source in need never receives, except from those whose need is not a doubt.
    room[e] = need[e] === 0 ? roomOf(fleet, objective, e) : 0;
    if (isRescue) rescueRoom[e] = rescueRoomOf(fleet, objective, e);
    if (room[e]! > 0 || rescueRoom[e]! > 0) targets.push(e);
  }
  // Best first, so that a search that must stop early has seen the likely ones.
  const roomAtMost = (e: number): number => Math.max(room[e]!, rescueRoom[e]!);
  targets.sort((a, b) => score[b]! - score[a]! || roomAtMost(b) - roomAtMost(a) || a - b);
  const candidates = new Int32Array(sessions.count);
  let count = 0;
  const onlySingle = new Uint8Array(endpoints.count);
  /** Nobody comes to where a class leaves: those that leave and those that come would only change places. */
  const left = new Uint8Array(endpoints.count);
  const leaving = classesLeaving(fleet, objective);
  for (let s = 0; s < sessions.count; s++) {
    const from = sessions.endpoint[s]!;
    if (from < 0 || !isMovable(fleet, objective, s)) continue;
    const byClass = leaving[sessions.scoreClass[s]! * endpoints.count + from];
    if (need[from]! === 0) {
      const pathRisk = fleet.pathRisk[sessions.region[s]! * endpoints.count + from]!;
      if (byClass !== LEAVES && !(1 - pathRisk < objective.pathEnterScore)) continue;
      onlySingle[from] = 1;
      if (byClass === LEAVES) left[from] = 1;
    } else if (byClass === STAYS && !isForced(fleet, from)) continue;
    candidates[count++] = s;
  }
  for (let e = 0; e < endpoints.count; e++) if (onlySingle[e] === 1) need[e] = Number.POSITIVE_INFINITY;
  const chosen = candidates.subarray(0, count);
  raiseSmallNeeds(fleet, need, chosen);
  return {
    fleet,
    objective,
    need,
    onlySingle,
    leaving,
    room,
    rescueRoom,
    score,
    targets: Int32Array.from(targets.filter((e) => left[e] === 0)),
    candidates: chosen,
  };
}

/** What a class' own threshold says of an endpoint. */
const STAYS = 1;
const LEAVES = 2;

/** Per class and endpoint; 0 where the endpoint's own threshold decides. Few classes: none of this is done for each session. */
function classesLeaving(fleet: FleetSnapshot, objective: Objective): Uint8Array {
  const width = fleet.endpoints.count;
  const leaving = new Uint8Array((fleet.classes?.count ?? 1) * width);
  for (let c = 0; c < (fleet.classes?.count ?? 0); c++) {
    for (let e = 0; e < width; e++) {
      const leaves = isClassLeaving(fleet, objective, c, e);
      if (leaves !== undefined) leaving[c * width + e] = leaves ? LEAVES : STAYS;
    }
  }
  return leaving;
}

/** Everything must go, whatever the scores are. */
function isForced({ endpoints }: FleetSnapshot, e: number): boolean {
  return Number.isFinite(endpoints.eventInS[e]!) || endpoints.emptying[e] === 1;
}

/** A need smaller than every session could never be met: it is raised to the smallest session of its endpoint. */
function raiseSmallNeeds(fleet: FleetSnapshot, need: Float64Array, candidates: Int32Array): void {
  const { endpoint, load } = fleet.sessions;
  const smallest = new Float64Array(need.length).fill(Number.POSITIVE_INFINITY);
  for (const s of candidates) smallest[endpoint[s]!] = Math.min(smallest[endpoint[s]!]!, load[s]!);
  for (let e = 0; e < need.length; e++) {
    if (need[e]! > 0 && smallest[e]! < Number.POSITIVE_INFINITY) need[e] = Math.max(need[e]!, smallest[e]!);
  }
}

/** Rescued sources first; by worth per unit of load where the source has a limited need, by worth where it has not; ties by the session's key. */
function orderCandidates(context: PlanContext): Int32Array {
  const { fleet, objective, candidates } = context;
  const { sessions, endpoints } = fleet;
  const keys = new Float64Array(candidates.length);
  const meanLoad = candidates.reduce((sum, s) => sum + sessions.load[s]!, 0) / Math.max(1, candidates.length);
  for (let i = 0; i < candidates.length; i++) {
    const s = candidates[i]!;
    const from = sessions.endpoint[s]!;
    const urgency = urgencyOf(fleet, objective, from);
    const worth = worthOf(fleet, s, objective.horizonS) * urgency * (1 - context.score[from]!);
    const limited = Number.isFinite(context.need[from]!);
    // Logarithms spread the keys evenly, which is what the sort wants.
    keys[i] =
      endpoints.rescue[from]! * RESCUE_FIRST +
      Math.log(
        1e-12 +
          (limited ? (worth * meanLoad) / Math.max(sessions.load[s]!, 1e-9 * endpoints.limit[from]!) : worth),
      );
  }
  return sortByKeyDescending(candidates, keys, sessions.key);
}

interface Assignment {
  readonly sessions: number[];
  readonly targets: number[];
  value: number;
  readonly missing: Float64Array;
}

function assign(context: PlanContext, order: Int32Array, prices: Prices | undefined): Assignment {
  const { fleet, objective, targets } = context;
  const { sessions, endpoints } = fleet;
  const room = context.room.slice();
  const rescueRoom = context.rescueRoom.slice();
  const need = context.need.slice();
  const fromCount = new Int32Array(endpoints.count);
  const toCount = new Int32Array(endpoints.count);
  const unplaced = new Float64Array(endpoints.count);
  const result: Assignment = { sessions: [], targets: [], value: 0, missing: unplaced };
  const sequence = prices === undefined ? order : orderByReducedValue(context, order, prices);
  // A load that found no place will find none later in this plan: rooms only shrink.
  const hopeless = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const s of sequence) {
    if (result.sessions.length >= objective.maxMoves) break;
    const from = sessions.endpoint[s]!;
    const load = sessions.load[s]!;
    if (load > need[from]! || fromCount[from]! >= objective.maxMovesPerSource) continue;
    const rescued = endpoints.rescue[from]!;
    // Who was given sessions of an endpoint in distress does not send its own away for a doubt.
    if (rescued === 0 && toCount[from]! > 0) continue;
    const rooms = rescued === 1 ? rescueRoom : room;
    const worth = worthOf(fleet, s, objective.horizonS) * urgencyOf(fleet, objective, from);
    const scoreHere = placeScore(fleet, s, from);
    const emptied = endpoints.emptying[from]! * objective.emptyingGain;
    let to = -1;
    let most = Number.NEGATIVE_INFINITY;
    let fits = false;
    if (load < hopeless[rescued]!) {
      for (const e of targets) {
        if (rooms[e]! < load || toCount[e]! >= objective.maxMovesPerTarget || fromCount[e]! > 0) continue;
        if (!isAllowed(fleet, s, e)) continue;
        if (context.leaving[sessions.scoreClass[s]! * endpoints.count + e] === LEAVES) continue;
        fits = true;
        const nearer = objective.nearGain * nearerBy(fleet, s, from, e);
        const gain = worth * (scoreThere(fleet, s, from, e) - scoreHere + emptied + nearer);
        const value = gain - costOf(fleet, objective, s, e);
        // Without prices, of nearly equal targets the emptier one: sessions spread instead of stampeding.
        const reduced =
          prices === undefined
            ? value * (1 + SPREAD * (rooms[e]! / endpoints.limit[e]!))
            : value - load * prices.target[e]!;
        if (value > 0 && reduced > most) {
          most = reduced;
          to = e;
        }
      }
    }
    if (to < 0) {
      if (!fits) {
        unplaced[from] = unplaced[from]! + load;
        if (sessions.require[s] === 0 && sessions.forbid[s] === 0 && sessions.buddy[s]! < 0)
          hopeless[rescued] = Math.min(hopeless[rescued]!, load);
      }
      continue;
    }
    room[to] = room[to]! - load;
    rescueRoom[to] = rescueRoom[to]! - load;
    need[from] = need[from]! - load;
    fromCount[from] = fromCount[from]! + 1;
    toCount[to] = toCount[to]! + 1;
    result.sessions.push(s);
    result.targets.push(to);
    result.value += gainOf(fleet, objective, s, from, to) - costOf(fleet, objective, s, to);
  }
  for (let e = 0; e < endpoints.count; e++) unplaced[e] = Math.min(unplaced[e]!, Math.max(0, need[e]!));
  return result;
}

/**
 * Order at given prices: first what each source would choose for its need (a knapsack of values less prices), then the rest;
 * within both by value less the price of what the move uses up.
 */
function orderByReducedValue(context: PlanContext, order: Int32Array, prices: Prices): Int32Array {
  const { fleet, objective, targets, need } = context;
  const { sessions } = fleet;
  const reduced = new Float64Array(order.length).fill(Number.NEGATIVE_INFINITY);
  const bySource = new Map<number, number[]>();
  for (let i = 0; i < order.length; i++) {
    const s = order[i]!;
    const from = sessions.endpoint[s]!;
    for (const e of targets) {
      if (!isAllowed(fleet, s, e)) continue;
      const value = gainOf(fleet, objective, s, from, e) - costOf(fleet, objective, s, e);
      reduced[i] = Math.max(reduced[i]!, value - sessions.load[s]! * prices.target[e]! - prices.move);
    }
    const list = bySource.get(from);
    if (list === undefined) bySource.set(from, [i]);
    else list.push(i);
  }
  const keys = Float64Array.from(reduced, (r) => Math.max(-1e6, r));
  let high = 1;
  for (const key of keys) high = Math.max(high, key);
  for (let i = 0; i < order.length; i++)
    if (fleet.endpoints.rescue[sessions.endpoint[order[i]!]!] === 1) keys[i] = keys[i]! + 4 * high;
  for (const [from, list] of bySource) {
    const values = Float64Array.from(list, (i) => reduced[i]!);
    const loads = Float64Array.from(list, (i) => sessions.load[order[i]!]!);
    for (const k of chooseItems(values, loads, need[from]!)) keys[list[k]!] = keys[list[k]!]! + 2 * high;
  }
  return sortByKeyDescending(order, keys, sessions.key);
}

function toPlan(context: PlanContext, assignment: Assignment): Plan {
  const { fleet, objective, need } = context;
  const { sessions, endpoints } = fleet;
  const moves = assignment.sessions.map((session, i): PlannedMove => {
    const from = sessions.endpoint[session]!;
    const to = assignment.targets[i]!;
    return {
      session,
      from,
      to,
      score: scoreOn(fleet, session, from),
      scoreThere: scoreOn(fleet, session, to),
      gain: gainOf(fleet, objective, session, from, to),
      cost: costOf(fleet, objective, session, to),
      money: objective.moneyPerMb * megabytesOf(fleet, session, to),
      deadlineS: Math.min(endpoints.eventInS[from]!, objective.horizonS),
      reasons: reasonsOf(context, session, from, to),
    };
  });
  moves.sort(
    (a, b) =>
      a.deadlineS - b.deadlineS ||
      b.gain - b.cost - (a.gain - a.cost) ||
      sessions.key[a.session]! - sessions.key[b.session]!,
  );
  const lacking = [...assignment.missing.keys()].filter(
    (e) => assignment.missing[e]! > 0 && endpoints.emptying[e] === 0,
  );
  return {
    moves,
    value: assignment.value,
    relieving: Uint8Array.from(need, (n, e) => (n > 0 && context.onlySingle[e] === 0 ? 1 : 0)),
    relievingClasses: context.leaving.map((l) => (l === LEAVES ? 1 : 0)),
    insufficientCapacity:
      lacking.length === 0
        ? undefined
        : { missing: lacking.reduce((sum, e) => sum + assignment.missing[e]!, 0), endpoints: lacking },
  };
}

function reasonsOf(context: PlanContext, s: number, from: number, to: number): string[] {
  const { endpoints, sessions, pathRisk } = context.fleet;
  const reasons: string[] = [];
  const percent = (p: number): string => `${Math.round(100 * p)} %`;
  if (Number.isFinite(endpoints.eventInS[from]!))
    reasons.push(`certain event in ${endpoints.eventInS[from]!} s`);
  else if (endpoints.rescue[from] === 1) reasons.push('endpoint is at its limit');
  if (endpoints.emptying[from] === 1) reasons.push('endpoint is being emptied');
  if (endpoints.overloadRisk[from]! > 0.05)
    reasons.push(`overload ${percent(endpoints.overloadRisk[from]!)}`);
  if (endpoints.failureRisk[from]! > 0.05) reasons.push(`failure ${percent(endpoints.failureRisk[from]!)}`);
  else if (Number.isNaN(endpoints.failureRisk[from]!)) reasons.push('failure unknown');
  const region = sessions.region[s]! * endpoints.count;
  const shorter = pathRisk[region + from]! - pathRisk[region + to]!;
  if (shorter > 0.01) reasons.push(`path risk less by ${percent(shorter)}`);
  if (context.leaving[sessions.scoreClass[s]! * endpoints.count + from] === LEAVES)
    reasons.push('score below the threshold of its class');
  if (nearerBy(context.fleet, s, from, to) > 0) reasons.push('target is nearer to the client');
  if (sessions.buddy[s] === to) reasons.push('target is the buddy');
  return reasons;
}
