import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnalyticsEngine } from './analytics-engine.js';
import type { EngineInput, EngineOutput, PlanOutput } from './engine-input.js';
import { DEFAULT_ENGINE, type EngineOptions } from './engine-options.js';
import { engineStatus, explain } from './engine-report.js';
import { planMoves } from '../plan/planner.js';
import { createRandomFleet } from '../plan/random-fleet.js';

const names = ['a', 'b', 'c'];

interface Scene {
  readonly seconds: number;
  /** CPU of each endpoint as a share of its quota, before moves. */
  readonly cpu: (endpoint: number, second: number) => number;
  readonly sessions?: number;
  readonly also?: (second: number) => EngineInput[];
  /** Capacity of b and c in sessions. */
  readonly capacity?: number;
}

/** Sessions all at `a`, each a share of its load; a move given out happens a second later and takes its load along. */
function* play(engine: AnalyticsEngine, scene: Scene, moves: boolean): Generator<EngineInput[], void, void> {
  const count = scene.sessions ?? 40;
  const where = new Map(Array.from({ length: count }, (_, i) => [`s${i}`, 0]));
  const endpoints = names.map((name, e) => ({
    name,
    accepts: true,
    ...(e > 0 && scene.capacity !== undefined ? { capacitySessions: scene.capacity } : {}),
  }));
  yield [
    { kind: 'fleet', atMs: 0, endpoints },
    ...[...where.keys()].map(
      (session): EngineInput => ({
        kind: 'session',
        atMs: 1,
        what: 'opened',
        session,
        endpoint: 'a',
        client: '10.0.0.7',
        ageMs: 600_000,
      }),
    ),
  ];
  let given: PlanOutput['moves'] = [];
  for (let second = 1; second <= scene.seconds; second++) {
    const atMs = second * 1000;
    const inputs: EngineInput[] = [];
    for (const move of given) {
      where.set(move.session, names.indexOf(move.to));
      inputs.push({
        kind: 'session',
        atMs: atMs - 900,
        what: 'moved',
        session: move.session,
        endpoint: move.to,
      });
    }
    const total = scene.cpu(0, second);
    names.forEach((endpoint, e) => {
      const here = [...where].filter(([, at]) => at === e).map(([id]) => id);
      const cpuRatio = Math.min(1, (e === 0 ? 0 : scene.cpu(e, second)) + (total * here.length) / count);
      inputs.push({
        kind: 'endpoint',
        atMs: atMs - 500 + e,
        endpoint,
        metrics: { cpuRatio, cpuLimitCores: 1 },
      });
      inputs.push({
        kind: 'sessions',
        atMs: atMs - 400 + e,
        endpoint,
        total: here.length,
        sessions: here.map((id) => ({
          id,
          ageMs: 0,
          periodMs: 1000,
          requests: 10,
          bytesIn: 100,
          bytesOut: 900,
        })),
      });
    });
    inputs.push(...(scene.also?.(second) ?? []), { kind: 'tick', atMs });
    yield inputs;
    given = moves && engine.lastPlan?.disposition === 'move' ? engine.lastPlan.moves : [];
  }
}

function run(scene: Scene, options: Partial<EngineOptions> = {}) {
  const engine = new AnalyticsEngine({ ...DEFAULT_ENGINE, ...options });
  const outputs: EngineOutput[] = [];
  const inputs: EngineInput[] = [];
  for (const batch of play(engine, scene, options.mode === 'act')) {
    for (const input of batch) {
      inputs.push(input);
      outputs.push(...engine.handle(input));
      if (input.kind === 'tick' && engine.trainingDue()) {
        const train: EngineInput = { kind: 'train', atMs: input.atMs };
        inputs.push(train);
        outputs.push(...engine.handle(train));
      }
    }
  }
  const plans = outputs.filter((o): o is PlanOutput => o.kind === 'plan');
  const given = plans.filter((p) => p.disposition === 'move' && p.moves.length > 0);
  return { engine, outputs, inputs, plans, given };
}

/** From calm to beyond the limit of 0.9 between seconds 60 and 180. */
const ramp: Scene = {
  seconds: 150,
  cpu: (e, t) => (e > 0 ? 0.1 : 0.3 + Math.max(0, t - 60) * 0.008 + 0.02 * Math.sin(t * 1.7)),
};

describe('analytics engine', () => {
  it('lets sessions leave before the limit, the reactive rule after it', () => {
    const crossing = 60 + 0.6 / 0.008;
    const predictive = run(ramp, { mode: 'act' });
    const reactive = run(ramp, { mode: 'act', rule: 'reactive' });
    expect(predictive.given[0]!.atMs / 1000).toBeLessThan(crossing - 5);
    expect(reactive.given[0]!.atMs / 1000).toBeGreaterThan(crossing - 5);
    expect(reactive.given[0]!.rule).toBe('reactive');
    // Moves in flight count: it is not the same need planned again every second.
    expect(predictive.given.reduce((n, p) => n + p.moves.length, 0)).toBeLessThan(40);
  });

  it('forecasts what can be, moves included: quantiles ascend and are not negative', () => {
    const engine = new AnalyticsEngine({ ...DEFAULT_ENGINE, mode: 'act' });
    let cells = 0;
    for (const batch of play(engine, ramp, true)) {
      for (const input of batch) engine.handle(input);
      const forecast = engine.loads.all().get('cpu');
      for (const { index } of forecast === undefined ? [] : engine.endpoints.entries) {
        for (let h = 0; h < 3; h++, cells++) {
          const { p10, p50, p90 } = forecast!.band(index, h);
          expect(p10 >= 0 && p10 <= p50 && p50 <= p90, `${p10}, ${p50}, ${p90}`).toBe(true);
        }
      }
    }
    expect(cells).toBe(150 * 9);
    expect(engine.lastPlan).toBeDefined();
  });

  it('moves nobody on a calm fleet', () => {
    const calm: Scene = { seconds: 200, cpu: (e, t) => 0.4 + 0.05 * Math.sin(t / 9 + e) };
    expect(run(calm, { mode: 'act' }).given).toEqual([]);
  });

  it('plans in shadow and moves nothing; says nothing in off', () => {
    const shadow = run(ramp);
    expect(shadow.given).toEqual([]);
    expect(shadow.plans.some((p) => p.disposition === 'show' && p.moves.length > 0)).toBe(true);
    expect(run(ramp, { mode: 'off' }).plans).toEqual([]);
  });

  it('advises, waits for the accept, and carries out what still holds', () => {
    let accepted: readonly EngineOutput[] = [];
    const engine = new AnalyticsEngine({ ...DEFAULT_ENGINE, mode: 'advise' });
    for (const batch of play(engine, ramp, false)) {
      for (const input of batch) engine.handle(input);
      const plan = engine.lastPlan;
      if (plan?.disposition !== 'ask' || plan.moves.length === 0) continue;
      const gone = plan.moves[0]!.session;
      engine.handle({ kind: 'session', atMs: engine.nowMs, what: 'ended', session: gone, endpoint: 'a' });
      engine.handle({ kind: 'tick', atMs: engine.nowMs + 1 });
      accepted = engine.handle({ kind: 'accept', atMs: engine.nowMs + 2, planId: plan.planId });
      expect(accepted[0]).toMatchObject({ kind: 'plan', disposition: 'move' });
      expect((accepted[0] as PlanOutput).moves.map((m) => m.session)).not.toContain(gone);
      break;
    }
    expect(accepted.length).toBeGreaterThan(0);
  });

  it('empties an endpoint that is sure to end, and tells its verdicts with an expiry', () => {
    const notice: Scene = {
      seconds: 40,
      cpu: () => 0.2,
      also: (t) =>
        t === 20
          ? [{ kind: 'notice', atMs: 19_950, endpoint: 'a', what: 'preemption', deadlineAtMs: 50_000 }]
          : [],
    };
    const { given, outputs } = run(notice, { mode: 'act' });
    expect(given[0]!.atMs).toBe(20_000);
    expect(given.flatMap((p) => p.moves).length).toBe(40);
    expect(new Set(given.flatMap((p) => p.moves.map((m) => m.session))).size).toBe(40);
    const verdicts = outputs.filter((o) => o.kind === 'verdicts');
    expect(verdicts[0]).toMatchObject({ endpoint: 'a', expiresInMs: 3000 });
    expect(verdicts.at(-1)!.verdicts).toEqual([]);
  });

  it('empties it also when all forecasts are in doubt: what stays is lost for certain', () => {
    const doubtful: Scene = {
      seconds: 60,
      cpu: (e, t) => (e === 0 ? 0.5 : 0.35) + 0.3 * Math.sin(t * t + e),
      also: (t) =>
        t === 20
          ? [{ kind: 'notice', atMs: 19_950, endpoint: 'a', what: 'preemption', deadlineAtMs: 35_000 }]
          : [],
    };
    const { given } = run(doubtful, { mode: 'act' });
    const moved = given.flatMap((p) => p.moves.filter((m) => m.from === 'a' && p.atMs <= 35_000));
    expect(new Set(moved.map((m) => m.session)).size).toBe(40);
  });

  it('leaves nobody on an endpoint that ends for what its neighbours do: connections of milliseconds that end by RST', () => {
    const checks = (t: number): EngineInput[] =>
      Array.from({ length: 10 }, (_, i) => {
        const about = {
          kind: 'session',
          session: `check${t}-${i}`,
          endpoint: 'a',
          client: '10.0.0.8',
        } as const;
        const atMs = t * 1000 - 300 + 20 * i;
        return [
          { ...about, atMs, what: 'opened' },
          { ...about, atMs: atMs + 3, what: 'ended', end: 'reset' },
        ] as const satisfies readonly EngineInput[];
      }).flat();
    const notice = { kind: 'notice', endpoint: 'a', what: 'preemption', deadlineAtMs: 80_000 } as const;
    const scene: Scene = {
      seconds: 60,
      sessions: 10,
      cpu: () => 0.2,
      also: (t) => (t === 50 ? [...checks(t), { ...notice, atMs: t * 1000 - 100 }] : checks(t)),
    };
    const { engine, given } = run(scene, { mode: 'act' });
    expect(new Set(given.flatMap((p) => p.moves.map((m) => m.session))).size).toBe(10);
    const { contributions } = explain(engine, 's3') as { contributions: { cause: string; risk: number }[] };
    expect(contributions.find(({ cause }) => cause === 'client')!.risk).toBeLessThan(0.01);
  });

  it('leaves nobody there whose client is sure to reset it', () => {
    const fleet = createRandomFleet({ sessions: 20, endpoints: 2, seed: 1, troubled: 0 });
    const { sessions, endpoints } = fleet;
    sessions.endpoint.fill(0);
    sessions.buddy.fill(-1);
    sessions.flags.fill(0);
    sessions.require.fill(0);
    sessions.lifeS.fill(600);
    sessions.clientRisk.fill(1);
    endpoints.limit.fill(100);
    endpoints.eventInS.set([45, Number.POSITIVE_INFINITY]);
    expect(planMoves(fleet).moves).toHaveLength(20);
  });

  it('takes silence for uncertainty: no sessions go to an endpoint that does not report, and without any nothing moves', () => {
    const engine = new AnalyticsEngine({ ...DEFAULT_ENGINE, mode: 'act' });
    const outputs: EngineOutput[] = [];
    for (const batch of play(engine, ramp, true)) {
      for (const input of batch) {
        const isSilent = input.kind === 'endpoint' && input.endpoint === 'b' && input.atMs > 30_000;
        if (!isSilent) outputs.push(...engine.handle(input));
      }
    }
    const moves = outputs.flatMap((o) => (o.kind === 'plan' && o.disposition === 'move' ? o.moves : []));
    expect(moves.length).toBeGreaterThan(0);
    expect(moves.every((m) => m.to === 'c')).toBe(true);
    expect(outputs).toContainEqual(expect.objectContaining({ name: 'uncertain' }));
    for (let t = 1; t < 10; t++) outputs.push(...engine.handle({ kind: 'tick', atMs: 150_000 + t * 1000 }));
    expect(outputs).toContainEqual(expect.objectContaining({ name: 'brake-pulled', brake: 'stale' }));
  });

  it('takes an endpoint without figures of its CPU for a wide band: no target, no source, and named', () => {
    const scene: Scene = {
      ...ramp,
      seconds: 160,
      // What b says of its CPU is what nobody can use; the rest of its figures is well.
      also: (t) => [
        {
          kind: 'endpoint',
          atMs: t * 1000 - 450,
          endpoint: 'd',
          metrics: { memoryRatio: 0.2, ioRatio: 0.1 },
        },
        ...(t === 1
          ? [
              {
                kind: 'fleet' as const,
                atMs: 500,
                endpoints: ['a', 'c', 'd'].map((name) => ({ name, accepts: true })),
              },
              {
                kind: 'session' as const,
                atMs: 501,
                what: 'opened' as const,
                session: 'lone',
                endpoint: 'd',
                client: '10.0.0.9',
                ageMs: 600_000,
              },
            ]
          : []),
      ],
    };
    const { engine, given } = run(scene, { mode: 'act' });
    const moves = given.flatMap((p) => p.moves);
    expect(moves.length).toBeGreaterThan(0);
    expect(new Set(moves.map((m) => m.to))).toEqual(new Set(['c']));
    expect(moves.map((m) => m.session)).not.toContain('lone');
    const story = explain(engine, 'd') as { [key: string]: unknown };
    expect(story).toMatchObject({ unknown: ['cpu'], overloadRisk: 'unknown', room: 0, need: 0 });
    expect(story['score']).toBeLessThan(0.95);
    expect(story['p90']).toBeGreaterThanOrEqual(story['limit'] as number);
    const lone = explain(engine, 'lone') as {
      score: number;
      unknown: string[];
      contributions: { share: number }[];
    };
    expect(lone.unknown).toContain('load');
    expect(lone.score).toBeLessThan(0.95);
    expect(lone.contributions.reduce((sum, c) => sum + c.share, 0)).toBeCloseTo(1 - lone.score, 9);
    expect(explain(engine, 'c')).toMatchObject({ unknown: [] });
  });

  it('explains the same score as it plans with, and parts that sum to the risk', () => {
    const { engine } = run(ramp);
    const story = explain(engine, 's3') as {
      score: number;
      contributions: { share: number }[];
      unknown: string[];
    };
    expect(story.contributions.reduce((sum, c) => sum + c.share, 0)).toBeCloseTo(1 - story.score, 9);
    expect(story.unknown).toContain('failure');
    expect(explain(engine, 'a')).toMatchObject({ kind: 'endpoint', metric: 'cpu' });
    expect(explain(engine, 'nobody')).toBeUndefined();
    expect(JSON.parse(JSON.stringify(engineStatus(engine)))).toMatchObject({ mode: 'shadow', sessions: 40 });
  });
});

describe('whatever happens', () => {
  it('the order of inputs within a period does not change a plan, and the same input gives the same plan', () => {
    const short: Scene = { ...ramp, seconds: 100, sessions: 12 };
    const { inputs, plans } = run(short);
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(1_000_000)), (numbers) => {
        const engine = new AnalyticsEngine(DEFAULT_ENGINE);
        const again: PlanOutput[] = [];
        let period: EngineInput[] = [];
        for (const input of inputs) {
          if (input.kind !== 'tick' && input.kind !== 'train') {
            period.push(input);
            continue;
          }
          const keyed = period.map((i) => [numbers.next().value, i] as const);
          for (const [, i] of keyed.sort((x, y) => x[0] - y[0])) engine.handle(i);
          period = [];
          for (const o of engine.handle(input)) if (o.kind === 'plan') again.push(o);
        }
        expect(again).toEqual(plans);
      }),
      { numRuns: 4 },
    );
  });

  it('pinned sessions are never planned, and no plan exceeds a capacity', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 8 }), fc.integer({ min: 1, max: 30 }), (capacity, pins) => {
        const pinned = new Set(Array.from({ length: pins }, (_, i) => `s${i}`));
        const scene: Scene = {
          seconds: 40,
          cpu: () => 0.3,
          capacity,
          also: (t) => [
            ...(t === 2
              ? [...pinned].map(
                  (session): EngineInput => ({
                    kind: 'session',
                    atMs: 1_950,
                    what: 'pinned',
                    session,
                    endpoint: 'a',
                  }),
                )
              : []),
            ...(t === 5
              ? [{ kind: 'notice', atMs: 4_950, endpoint: 'a', what: 'drain', deadlineAtMs: 90_000 } as const]
              : []),
          ],
        };
        const moves = run(scene, { mode: 'act' }).given.flatMap((p) => p.moves);
        expect(moves.some((m) => pinned.has(m.session))).toBe(false);
        for (const to of ['b', 'c'])
          expect(moves.filter((m) => m.to === to).length).toBeLessThanOrEqual(capacity);
        expect(moves.length).toBe(Math.min(40 - pins, 2 * capacity));
      }),
      { numRuns: 12 },
    );
  });

  it('impossible figures never throw and never move anybody', () => {
    const odd = fc.constantFrom(Number.NaN, -1, Number.POSITIVE_INFINITY, 1e300, 0);
    fc.assert(
      fc.property(fc.array(fc.tuple(odd, odd, odd), { minLength: 20, maxLength: 40 }), (rows) => {
        const scene: Scene = {
          seconds: rows.length,
          cpu: () => 0.2,
          also: (t) => {
            const [x, y, z] = rows[t - 1]!;
            return [
              {
                kind: 'endpoint',
                atMs: t * 1000 - 450,
                endpoint: 'b',
                metrics: { cpuRatio: x, cpuLimitCores: y },
              },
              { kind: 'path', atMs: t * 1000 - 10, endpoint: 'c', rttMs: z, lossRatio: x },
              {
                kind: 'sessions',
                atMs: t * 1000 - 5,
                endpoint: 'a',
                total: y,
                sessions: [{ id: 's1', ageMs: z, periodMs: x, requests: y, bytesIn: x, bytesOut: z }],
              },
              { kind: 'tick', atMs: z },
            ];
          },
        };
        const { given, engine } = run(scene, { mode: 'act' });
        expect(given.flatMap((p) => p.moves).filter((m) => m.from === 'a')).toEqual([]);
        expect(() => JSON.stringify(engineStatus(engine))).not.toThrow();
      }),
      { numRuns: 20 },
    );
  });
});
