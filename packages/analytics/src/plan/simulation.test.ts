import { describe, expect, it } from 'vitest';
import { createRandom } from '../seeded-random.js';
import { believableLoad, createEndpointColumns, createSessionColumns, type FleetSnapshot } from './fleet.js';
import { DEFAULT_OBJECTIVE } from './objective.js';
import { planMoves } from './planner.js';
import { ReservationBook } from './reservation-book.js';

const PERIOD_S = 10;

interface SimulationOptions {
  readonly seed: number;
  /** Periods by which the planner's view lags behind. */
  readonly staleBy?: number;
  /** Factor by which endpoint 0 misreports its load. */
  readonly lie?: number;
  /** Planners that each own every n-th session. */
  readonly planners?: number;
  readonly periods?: number;
}

/** Twelve endpoints, 480 sessions piled up on three of them; loads tremble, endpoints crossing 1 are overloaded. */
function simulate(options: SimulationOptions) {
  const random = createRandom(options.seed);
  const endpointCount = 12;
  const sessionCount = 480;
  const base = Float64Array.from({ length: sessionCount }, () => 0.005 + 0.02 * random());
  const place = Int32Array.from({ length: sessionCount }, (_, s) => (s < 240 ? s % 3 : s % endpointCount));
  const residence = new Float64Array(sessionCount).fill(600);
  const lastMove = new Int32Array(sessionCount).fill(-1_000);
  const books = Array.from({ length: endpointCount }, () => new ReservationBook(0.85));
  const views: { loads: Float64Array; places: Int32Array }[] = [];
  const movesPerPeriod: number[] = [];
  let pingPongs = 0;
  let relieving = new Uint8Array(endpointCount);
  let overloadedPeriods = 0;
  let worstPushed = 0;
  for (let period = 0; period < (options.periods ?? 60); period++) {
    const loads = new Float64Array(endpointCount);
    const load = base.map((b) => b * (0.95 + 0.1 * random()));
    for (let s = 0; s < sessionCount; s++) loads[place[s]!] = loads[place[s]!]! + load[s]!;
    views.push({ loads: loads.slice(), places: place.slice() });
    if (period >= 20 && loads.some((l) => l > 1)) overloadedPeriods++;
    const view = views[Math.max(0, period - (options.staleBy ?? 0))]!;
    let moved = 0;
    const planners = options.planners ?? 1;
    for (let p = 0; p < planners; p++) {
      const fleet = look(view, load, residence, relieving, options.lie ?? 1, (s) => s % planners === p);
      const plan = planMoves(fleet, { ...DEFAULT_OBJECTIVE, maxMovesPerSource: 20, maxMovesPerTarget: 10 });
      relieving = Uint8Array.from(plan.relieving);
      for (const { session, to, from } of plan.moves) {
        // A stale plan may name a place the session has left: the move is refused by its endpoint.
        if (place[session] !== from) continue;
        const present = loads[to]!;
        const ask = books[to]!.reserve(load[session]!, present, period * PERIOD_S * 1000, 1);
        if (ask.outcome === 'refused') continue;
        books[to]!.release(ask.id);
        loads[from] = loads[from]! - load[session]!;
        loads[to] = present + load[session]!;
        worstPushed = Math.max(worstPushed, loads[to]!);
        if ((period - lastMove[session]!) * PERIOD_S < 60) pingPongs++;
        lastMove[session] = period;
        place[session] = to;
        residence[session] = 0;
        moved++;
      }
    }
    for (let s = 0; s < sessionCount; s++) residence[s] = residence[s]! + PERIOD_S;
    movesPerPeriod.push(moved);
  }
  return { movesPerPeriod, pingPongs, overloadedPeriods, worstPushed };
}

function look(
  view: { loads: Float64Array; places: Int32Array },
  load: Float64Array,
  residence: Float64Array,
  relieving: Uint8Array,
  lie: number,
  mine: (session: number) => boolean,
): FleetSnapshot {
  const sessions = createSessionColumns(view.places.length);
  const endpoints = createEndpointColumns(view.loads.length);
  sessions.load.set(load);
  sessions.residenceS.set(residence);
  sessions.lifeS.fill(600);
  const counted = new Int32Array(view.loads.length);
  let total = 0;
  view.places.forEach((e, s) => {
    counted[e] = counted[e]! + 1;
    total += load[s]!;
    sessions.endpoint[s] = mine(s) ? e : -1;
    sessions.key[s] = s * 2654435761;
  });
  endpoints.limit.fill(1);
  view.loads.forEach((l, e) => {
    const believed = believableLoad(e === 0 ? l * lie : l, counted[e]!, total / view.places.length, 1.5);
    endpoints.loadP50[e] = believed;
    endpoints.loadP90[e] = believed * 1.05;
    endpoints.overloadRisk[e] = 1 / (1 + Math.exp(-25 * (believed - 0.95)));
  });
  endpoints.relieving.set(relieving);
  return { sessions, endpoints, regionCount: 1, pathRisk: new Float32Array(view.loads.length) };
}

describe('a simulated fleet', () => {
  const seeds = [1, 2, 3, 4, 5];

  it('converges: the overload is gone, moves die out, no session goes to and fro', () => {
    for (const seed of seeds) {
      const { movesPerPeriod, pingPongs, overloadedPeriods } = simulate({ seed });
      expect(pingPongs).toBe(0);
      expect(overloadedPeriods).toBe(0);
      expect(movesPerPeriod.slice(30).reduce((a, b) => a + b, 0)).toBe(0);
    }
  });

  it('converges on a view that is three periods old, and pushes no target over its capacity', () => {
    for (const seed of seeds) {
      const { movesPerPeriod, pingPongs, overloadedPeriods, worstPushed } = simulate({ seed, staleBy: 3 });
      expect(pingPongs).toBe(0);
      expect(overloadedPeriods).toBe(0);
      expect(worstPushed).toBeLessThanOrEqual(0.85 + 1e-9);
      expect(movesPerPeriod.slice(40).reduce((a, b) => a + b, 0)).toBe(0);
    }
  });

  it('converges with an endpoint that reports a tenth, or ten times, of its load', () => {
    for (const seed of seeds) {
      for (const lie of [0.1, 10]) {
        const { movesPerPeriod, pingPongs, worstPushed } = simulate({ seed, lie });
        expect(pingPongs).toBe(0);
        expect(worstPushed).toBeLessThanOrEqual(0.85 + 1e-9);
        expect(movesPerPeriod.slice(45).reduce((a, b) => a + b, 0)).toBeLessThan(20);
      }
    }
  });

  it('several planners with their own sessions share targets through the reservations', () => {
    for (const seed of seeds) {
      const { overloadedPeriods, worstPushed, pingPongs } = simulate({ seed, planners: 3, staleBy: 1 });
      expect(pingPongs).toBe(0);
      expect(overloadedPeriods).toBe(0);
      expect(worstPushed).toBeLessThanOrEqual(0.85 + 1e-9);
    }
  });
});
