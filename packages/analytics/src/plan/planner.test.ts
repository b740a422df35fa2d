import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../seeded-random.js';
import { believableLoad, type FleetSnapshot, SESSION_PINNED } from './fleet.js';
import { DEFAULT_OBJECTIVE, isAllowed } from './objective.js';
import { type Plan, planMoves } from './planner.js';
import { createRandomFleet } from './random-fleet.js';
import { findEmptiable } from './scale-in.js';
import { sortByKeyDescending } from './sort-keys.js';

const fleets = fc
  .record({
    sessions: fc.integer({ min: 0, max: 300 }),
    endpoints: fc.integer({ min: 1, max: 14 }),
    seed: fc.integer({ min: 0, max: 1e9 }),
    troubled: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map((options) =>
    withDistress(withClassesAndPlaces(createRandomFleet(options), options.seed), options.seed),
  );

/** Of every third fleet the endpoints whose limit is reached for sure are at it now, and doubt about the others is wide. */
function withDistress(fleet: FleetSnapshot, seed: number): FleetSnapshot {
  if (seed % 3 !== 0) return fleet;
  const random = createRandom(seed + 2);
  const { endpoints } = fleet;
  for (let e = 0; e < endpoints.count; e++) {
    endpoints.loadExpected[e] = endpoints.loadP50[e]! * (1 + 0.1 * random());
    if (endpoints.overloadRisk[e]! > 0.5) endpoints.rescue[e] = 1;
    else if (random() < 0.5) {
      endpoints.loadP90[e] = 1.5 * endpoints.limit[e]!;
      endpoints.overloadRisk[e] = random();
    }
  }
  return fleet;
}

/** Every other fleet also has classes with thresholds of their own, places, and paths that are nearly full. */
function withClassesAndPlaces(fleet: FleetSnapshot, seed: number): FleetSnapshot {
  if (seed % 2 === 0) return fleet;
  const random = createRandom(seed + 1);
  const { sessions, endpoints, regionCount } = fleet;
  for (let s = 0; s < sessions.count; s++) sessions.scoreClass[s] = Math.floor(random() * 3);
  for (let e = 0; e < endpoints.count; e++) if (random() < 0.3) endpoints.pathRoom[e] = random();
  return {
    ...fleet,
    nearness: Float32Array.from({ length: regionCount * endpoints.count }, () => random()),
    classes: {
      count: 3,
      enterScore: Float64Array.of(Number.NaN, 0.99, 0.3),
      leaveScore: Float64Array.of(Number.NaN, 0.995, Number.NaN),
      relieving: Uint8Array.from({ length: 3 * endpoints.count }, () => (random() < 0.3 ? 1 : 0)),
    },
  };
}

/** The same fleet with its handles in another order; `map[new] = old`. */
function shuffleHandles(fleet: FleetSnapshot, seed: number): { fleet: FleetSnapshot; map: Int32Array } {
  const random = createRandom(seed);
  const { sessions } = fleet;
  const map = Int32Array.from({ length: sessions.count }, (_, i) => i);
  for (let i = map.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [map[i], map[j]] = [map[j]!, map[i]!];
  }
  const moved = structuredClone(sessions);
  for (const [name, column] of Object.entries(moved)) {
    if (typeof column === 'number') continue;
    const source = sessions[name as 'load'];
    map.forEach((old, i) => (column[i] = source[old]!));
  }
  return { fleet: { ...fleet, sessions: moved }, map };
}

function summary(plan: Plan, fleet: FleetSnapshot) {
  return plan.moves.map((m) => [fleet.sessions.key[m.session], m.from, m.to, m.gain]);
}

describe('plans (properties)', () => {
  it('exceed no capacity, no budget, and respect labels and failure domains', () => {
    fc.assert(
      fc.property(fleets, fc.integer({ min: 1, max: 40 }), (fleet, maxMoves) => {
        const objective = { ...DEFAULT_OBJECTIVE, maxMoves, maxMovesPerSource: 25, maxMovesPerTarget: 10 };
        const { moves } = planMoves(fleet, objective);
        const { endpoints, sessions } = fleet;
        const added = new Float64Array(endpoints.count);
        const isGivenByDoubt = new Set<number>();
        const into = new Int32Array(endpoints.count);
        const outOf = new Int32Array(endpoints.count);
        for (const { session, from, to } of moves) {
          expect(from).toBe(sessions.endpoint[session]);
          expect(isAllowed(fleet, session, to)).toBe(true);
          added[to] = added[to]! + sessions.load[session]!;
          if (endpoints.rescue[from] === 0) isGivenByDoubt.add(to);
          expect(endpoints.rescue[to]).toBe(0);
          into[to] = into[to]! + 1;
          outOf[from] = outOf[from]! + 1;
        }
        expect(moves.length).toBeLessThanOrEqual(maxMoves);
        for (let e = 0; e < endpoints.count; e++) {
          expect(into[e]).toBeLessThanOrEqual(10);
          expect(outOf[e]).toBeLessThanOrEqual(25);
          if (added[e]! > 0) {
            // Caution counts the possible, rescue the expected.
            const beside = isGivenByDoubt.has(e) ? endpoints.loadP90[e]! : endpoints.loadExpected[e]!;
            expect(beside + endpoints.reserved[e]! + added[e]!).toBeLessThanOrEqual(
              objective.fillRatio * endpoints.limit[e]! + 1e-9,
            );
            expect(into[e]! > 0 && outOf[e]! > 0).toBe(false);
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it('never move a pinned session, never one twice, never one that does not pay', () => {
    fc.assert(
      fc.property(fleets, (fleet) => {
        const { moves } = planMoves(fleet);
        expect(new Set(moves.map((m) => m.session)).size).toBe(moves.length);
        for (const m of moves) {
          expect(fleet.sessions.flags[m.session]! & SESSION_PINNED).toBe(0);
          expect(m.gain).toBeGreaterThan(m.cost);
          expect(m.score).toBeGreaterThanOrEqual(0);
          expect(m.score).toBeLessThanOrEqual(1);
          expect(m.reasons.length).toBeGreaterThan(0);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('are the same for the same input, and whatever the order of sessions', () => {
    fc.assert(
      fc.property(fleets, fc.integer(), (fleet, seed) => {
        const once = planMoves(fleet);
        expect(planMoves(fleet)).toEqual(once);
        const other = shuffleHandles(fleet, seed);
        expect(summary(planMoves(other.fleet), other.fleet)).toEqual(summary(once, fleet));
      }),
      { numRuns: 100 },
    );
  });

  it('stay within capacities and finite numbers whatever telemetry says', () => {
    const poison = fc.record({
      column: fc.nat(40),
      at: fc.nat(400),
      value: fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, 0, 1e300),
      ofEndpoints: fc.boolean(),
    });
    fc.assert(
      fc.property(fleets, fc.array(poison, { maxLength: 40 }), (fleet, poisons) => {
        for (const { column, at, value, ofEndpoints } of poisons) {
          const columns = Object.values(ofEndpoints ? fleet.endpoints : fleet.sessions).filter(
            (c): c is Float64Array | Float32Array => c instanceof Float64Array || c instanceof Float32Array,
          );
          const chosen = columns[column % columns.length]!;
          if (chosen.length > 0) chosen[at % chosen.length] = value;
        }
        const { endpoints, sessions } = fleet;
        const added = new Float64Array(endpoints.count);
        for (const move of planMoves(fleet).moves) {
          added[move.to] = added[move.to]! + sessions.load[move.session]!;
          for (const n of [move.score, move.scoreThere, move.gain, move.cost])
            expect(Number.isFinite(n)).toBe(true);
        }
        added.forEach((load, e) => {
          if (load === 0) return;
          const taken = endpoints.loadP90[e]! + endpoints.reserved[e]! + load;
          expect(taken).toBeLessThanOrEqual(DEFAULT_OBJECTIVE.fillRatio * endpoints.limit[e]! + 1e-9);
        });
      }),
      { numRuns: 200 },
    );
  });

  it('list deadlines first, then value', () => {
    fc.assert(
      fc.property(fleets, (fleet) => {
        const { moves } = planMoves(fleet);
        for (let i = 1; i < moves.length; i++) {
          const a = moves[i - 1]!;
          const b = moves[i]!;
          expect(a.deadlineS).toBeLessThanOrEqual(b.deadlineS);
          if (a.deadlineS === b.deadlineS) expect(a.gain - a.cost).toBeGreaterThanOrEqual(b.gain - b.cost);
        }
      }),
    );
  });
});

/** Two endpoints, 20 equal sessions on the first, all movable. */
function twoEndpoints(): FleetSnapshot {
  const fleet = createRandomFleet({ sessions: 20, endpoints: 2, seed: 1, troubled: 0 });
  const { sessions, endpoints } = fleet;
  sessions.endpoint.fill(0);
  sessions.load.fill(0.05);
  sessions.lifeS.fill(600);
  sessions.residenceS.fill(600);
  sessions.flags.fill(0);
  sessions.buddy.fill(-1);
  sessions.require.fill(0);
  endpoints.eventInS.fill(Number.POSITIVE_INFINITY);
  endpoints.failureRisk.fill(Number.NaN);
  fleet.pathRisk.fill(0);
  endpoints.limit.fill(1);
  endpoints.loadP50.set([1, 0.1]);
  endpoints.loadP90.set([1.12, 0.1]);
  endpoints.overloadRisk.set([0.8, 0.01]);
  return fleet;
}

describe('plans', () => {
  it('relieve an endpoint down to its level and no further', () => {
    const { moves, insufficientCapacity } = planMoves(twoEndpoints());
    expect(moves).toHaveLength(4);
    expect(moves.every((m) => m.from === 0 && m.to === 1)).toBe(true);
    expect(moves[0]!.reasons).toContain('overload 80 %');
    expect(moves[0]!.reasons).toContain('failure unknown');
    expect(insufficientCapacity).toBeUndefined();
  });

  it('relieve an endpoint at its limit whatever the doubt about its targets', () => {
    const fleet = twoEndpoints();
    const { endpoints } = fleet;
    endpoints.loadExpected.set([1.12, 0.1]);
    // The idle target may come to 1.5, and to its limit almost for sure: then it is a source itself, and no target.
    endpoints.loadP90.set([1.12, 1.5]);
    endpoints.overloadRisk.set([1, 0.99]);
    const doubt = planMoves(fleet);
    expect(doubt.moves).toHaveLength(0);
    expect(doubt.insufficientCapacity?.endpoints).toEqual([0]);
    endpoints.rescue[0] = 1;
    const { moves, insufficientCapacity } = planMoves(fleet);
    expect(moves).toHaveLength(4);
    expect(moves.every((m) => m.from === 0 && m.to === 1)).toBe(true);
    expect(moves[0]!.reasons).toContain('endpoint is at its limit');
    expect(insufficientCapacity).toBeUndefined();
    // What is expected there counts, and a target at its own limit is none.
    endpoints.loadExpected[1] = 0.76;
    expect(planMoves(fleet).moves).toHaveLength(1);
    endpoints.rescue[1] = 1;
    expect(planMoves(fleet).moves).toHaveLength(0);
  });

  it('do not let an endpoint send sessions away for a doubt that takes some from one at its limit', () => {
    const fleet = createRandomFleet({ sessions: 30, endpoints: 3, seed: 2, troubled: 0 });
    const { sessions, endpoints } = fleet;
    Object.assign(fleet, { pathRisk: fleet.pathRisk.fill(0) });
    sessions.endpoint.set(sessions.endpoint.map((_, s) => (s < 20 ? 0 : 1)));
    sessions.load.fill(0.05);
    sessions.lifeS.fill(600);
    sessions.residenceS.fill(600);
    sessions.flags.fill(0);
    sessions.buddy.fill(-1);
    sessions.require.fill(0);
    endpoints.eventInS.fill(Number.POSITIVE_INFINITY);
    endpoints.limit.fill(1);
    endpoints.loadExpected.set([1.2, 0.5, 0.84]);
    endpoints.loadP90.set([1.3, 1.3, 0.1]);
    endpoints.overloadRisk.set([1, 0.5, 0.01]);
    endpoints.rescue[0] = 1;
    const { moves } = planMoves(fleet);
    expect(moves.length).toBeGreaterThan(0);
    expect(moves.every((m) => m.from === 0 && m.to === 1)).toBe(true);
  });

  it('empty an endpoint before a certain event, most valuable first', () => {
    const fleet = twoEndpoints();
    fleet.endpoints.limit[1] = 3;
    fleet.endpoints.eventInS[0] = 45;
    fleet.sessions.weight[7] = 5;
    fleet.sessions.residenceS.fill(0);
    const { moves } = planMoves(fleet);
    expect(moves).toHaveLength(20);
    expect(moves[0]!.session).toBe(7);
    expect(moves[0]!.deadlineS).toBe(45);
    expect(moves[0]!.score).toBe(0);
  });

  it('say how much is missing and worsen no target when the fleet cannot hold the load', () => {
    const fleet = twoEndpoints();
    fleet.endpoints.loadP90[1] = 0.84;
    const { moves, insufficientCapacity } = planMoves(fleet);
    expect(moves).toHaveLength(0);
    expect(insufficientCapacity?.missing).toBeCloseTo(0.22, 6);
    expect(insufficientCapacity?.endpoints).toEqual([0]);
  });

  it('leave short lives, newcomers and moving sessions alone', () => {
    const young = twoEndpoints();
    young.sessions.residenceS.fill(10);
    expect(planMoves(young).moves).toHaveLength(0);
    const dying = twoEndpoints();
    dying.sessions.lifeS.fill(5);
    expect(planMoves(dying).moves).toHaveLength(0);
    const moving = twoEndpoints();
    moving.sessions.flags.fill(2);
    expect(planMoves(moving).moves).toHaveLength(0);
  });

  it('keep relieving until the higher score is reached (hysteresis)', () => {
    const fleet = twoEndpoints();
    fleet.endpoints.overloadRisk[0] = 0.1;
    expect(planMoves(fleet).moves).toHaveLength(0);
    fleet.endpoints.relieving[0] = 1;
    expect(planMoves(fleet).moves.length).toBeGreaterThan(0);
  });

  it('fill a newcomer gradually', () => {
    const fleet = twoEndpoints();
    fleet.endpoints.loadP90[0] = 1.4;
    const all = planMoves(fleet).moves.length;
    fleet.endpoints.ageS[1] = 6;
    const few = planMoves(fleet).moves.length;
    expect(all).toBeGreaterThan(8);
    expect(few).toBe(1);
  });

  it('prefer the buddy, and keep the copy in another failure domain', () => {
    const fleet = createRandomFleet({ sessions: 20, endpoints: 3, seed: 2, troubled: 0 });
    Object.assign(fleet, { sessions: twoEndpoints().sessions });
    const { sessions, endpoints } = fleet;
    endpoints.eventInS.fill(Number.POSITIVE_INFINITY);
    endpoints.limit.fill(1);
    endpoints.loadP90.set([1.1, 0.1, 0.1]);
    endpoints.overloadRisk.set([0.8, 0.01, 0.01]);
    endpoints.failureRisk.fill(0);
    endpoints.domain.set([0, 1, 1]);
    fleet.pathRisk.fill(0);
    sessions.imageBytes.fill(2e6);
    sessions.buddy.fill(2);
    const { moves } = planMoves(fleet);
    expect(moves.length).toBeGreaterThan(0);
    expect(moves.every((m) => m.to === 2)).toBe(true);
    endpoints.accepts[2] = 0;
    expect(planMoves(fleet).moves).toHaveLength(0);
    endpoints.domain[1] = 2;
    expect(planMoves(fleet).moves.every((m) => m.to === 1)).toBe(true);
  });

  it('move a single session whose path has become bad off an endpoint that is well', () => {
    const fleet = twoEndpoints();
    fleet.endpoints.loadP90.set([0.5, 0.1]);
    fleet.endpoints.overloadRisk.fill(0.01);
    fleet.sessions.region.fill(0);
    fleet.sessions.region[4] = 1;
    fleet.pathRisk[fleet.endpoints.count] = 0.7;
    const { moves, relieving } = planMoves(fleet, { ...DEFAULT_OBJECTIVE, moneyPerMb: 2 });
    expect(moves.map((m) => m.session)).toEqual([4]);
    expect(moves[0]!.reasons).toContain('path risk less by 70 %');
    expect(moves[0]!.money).toBeCloseTo((2 * fleet.sessions.imageBytes[4]!) / 1e6, 9);
    expect([...relieving]).toEqual([0, 0]);
  });

  it("honour a threshold of an endpoint's own", () => {
    const fleet = twoEndpoints();
    fleet.endpoints.enterScore[0] = 0.1;
    expect(planMoves(fleet).moves).toHaveLength(0);
    fleet.endpoints.enterScore[0] = 0.3;
    expect(planMoves(fleet).moves.length).toBeGreaterThan(0);
  });

  it('treat NaN loads and limits as no room, not as free room', () => {
    const fleet = twoEndpoints();
    fleet.endpoints.loadP90[1] = Number.NaN;
    expect(planMoves(fleet).moves).toHaveLength(0);
    const silent = twoEndpoints();
    silent.endpoints.loadP90[0] = Number.NaN;
    expect(planMoves(silent).moves).toHaveLength(0);
  });
});

describe('scale-in', () => {
  it('names the least loaded endpoint that others can hold, never one with a pinned session', () => {
    const fleet = twoEndpoints();
    fleet.endpoints.loadP90.set([0.4, 0.1]);
    fleet.endpoints.overloadRisk.fill(0);
    expect(findEmptiable(fleet, DEFAULT_OBJECTIVE)).toBe(1);
    fleet.sessions.endpoint[3] = 1;
    fleet.sessions.flags[3] = SESSION_PINNED;
    expect(findEmptiable(fleet, DEFAULT_OBJECTIVE)).toBe(0);
    fleet.endpoints.overloadRisk[0] = 0.9;
    fleet.endpoints.loadP90[0] = 1.2;
    expect(findEmptiable(fleet, DEFAULT_OBJECTIVE)).toBeUndefined();
  });

  it('plans the emptying', () => {
    const fleet = twoEndpoints();
    fleet.endpoints.loadP90.set([0.4, 0.1]);
    fleet.endpoints.overloadRisk.fill(0.01);
    fleet.sessions.load.fill(0.02);
    fleet.endpoints.emptying[0] = 1;
    const { moves, insufficientCapacity } = planMoves(fleet);
    expect(moves).toHaveLength(20);
    expect(moves[0]!.reasons).toContain('endpoint is being emptied');
    expect(insufficientCapacity).toBeUndefined();
  });
});

describe('telemetry that lies', () => {
  it('neither attracts nor dumps more than the counted sessions explain', () => {
    expect(believableLoad(0, 100, 0.01)).toBeCloseTo(1 / 3, 9);
    expect(believableLoad(1e9, 100, 0.01)).toBeCloseTo(3.01, 9);
    expect(believableLoad(Number.NaN, 100, 0.01)).toBe(1);
    expect(believableLoad(-5, 100, 0.01)).toBe(1);
    expect(believableLoad(1.2, 100, 0.01)).toBe(1.2);
  });
});

describe('sorting', () => {
  it('is by descending key, ties by the session', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -5, max: 5 }), { maxLength: 200 }), (numbers) => {
        const keys = Float64Array.from(numbers);
        const tie = Uint32Array.from(numbers, (_, i) => (i * 7919) % 1009);
        const handles = Int32Array.from(numbers, (_, i) => i);
        const sorted = [...sortByKeyDescending(handles, keys, tie)];
        const expected = [...handles].sort((a, b) => keys[b]! - keys[a]! || tie[a]! - tie[b]! || a - b);
        expect(sorted).toEqual(expected);
      }),
    );
  });
});
