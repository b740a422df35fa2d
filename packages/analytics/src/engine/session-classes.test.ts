import { describe, expect, it } from 'vitest';
import { AnalyticsEngine } from './analytics-engine.js';
import type { EngineInput, FleetEndpoint, PlanOutput } from './engine-input.js';
import { DEFAULT_ENGINE, type EngineOptions } from './engine-options.js';
import { explain } from './engine-report.js';
import { isWithin, nearnessOf } from './places.js';

interface Told {
  readonly id: string;
  readonly listener?: string;
  readonly location?: string;
  readonly buddy?: string;
}

/** Seconds of an endpoint `a` with all sessions at the given CPU; b and c idle. Returns the last plan by session. */
function live(
  options: Partial<EngineOptions>,
  cpu: number,
  sessions: readonly Told[],
  fleet: Partial<Record<'a' | 'b' | 'c', Partial<FleetEndpoint>>> = {},
  also: readonly EngineInput[] = [],
): { engine: AnalyticsEngine; plan: PlanOutput; targets: Map<string, string> } {
  const engine = new AnalyticsEngine({ ...DEFAULT_ENGINE, ...options });
  const names = ['a', 'b', 'c'] as const;
  const take = (input: EngineInput): void => void engine.handle(input);
  take({ kind: 'fleet', atMs: 0, endpoints: names.map((name) => ({ name, accepts: true, ...fleet[name] })) });
  for (const { id, ...rest } of sessions)
    take({
      kind: 'session',
      atMs: 1,
      what: 'opened',
      session: id,
      endpoint: 'a',
      client: '10.0.0.7',
      ageMs: 1e6,
      ...rest,
    });
  for (const input of also) take(input);
  for (let t = 1; t <= 6; t++) {
    for (const endpoint of names) {
      const metrics = { cpuRatio: endpoint === 'a' ? cpu : 0.1, cpuLimitCores: 1 };
      take({ kind: 'endpoint', atMs: t * 1000 - 500, endpoint, metrics });
      take({ kind: 'path', atMs: t * 1000 - 450, endpoint, rttMs: 1, lossRatio: 0 });
    }
    const rows = sessions.map(({ id }) => ({
      id,
      ageMs: 0,
      periodMs: 1000,
      requests: 10,
      bytesIn: 10_000,
      bytesOut: 900,
    }));
    const bytes = t * 10_000 * sessions.length;
    take({
      kind: 'sessions',
      atMs: t * 1000 - 400,
      endpoint: 'a',
      total: rows.length,
      sessions: rows,
      ownCounts: { bytes, packets: t },
    });
    take({ kind: 'tick', atMs: t * 1000 });
  }
  const plan = engine.lastPlan;
  if (plan === undefined) throw new Error('no plan');
  return { engine, plan, targets: new Map(plan.moves.map((m) => [m.session, m.to])) };
}

const many = (count: number, listener: string): Told[] =>
  Array.from({ length: count }, (_, i) => ({ id: `${listener}${i}`, listener }));
const reactive = { mode: 'shadow', rule: 'reactive' } as const;

describe('thresholds', () => {
  // The reactive rule says 0.95 above the trigger and 0.01 below it: scores of 0.05 and 0.99.
  it('of a class: its sessions leave although their endpoint is good enough for others', () => {
    const sessions = [...many(5, 'gold'), ...many(5, 'main')];
    const classes = { gold: { enterScore: 0.5, leaveScore: 0.6 } };
    const patient = { a: { enterScore: 0.01, leaveScore: 0.02 } };
    const early = { ...reactive, reactiveTrigger: 0.25 };
    expect(live(early, 0.3, sessions, patient).plan.moves).toEqual([]);
    const { plan, engine } = live({ ...early, classes }, 0.3, sessions, patient);
    expect(plan.moves.length).toBeGreaterThan(0);
    expect(plan.moves.every((m) => m.session.startsWith('gold'))).toBe(true);
    expect(plan.moves[0]!.reasons).toContain('score below the threshold of its class');
    // What is explained is the forecast's view, on which the reactive rule does not act.
    expect(explain(engine, 'gold0')).toMatchObject({ leavesByClass: expect.any(Boolean) });
    expect(explain(engine, 'main0')).toMatchObject({ leavesByClass: null });
  });

  it('of a class: its sessions stay where others leave, but not before a certain event', () => {
    const sessions = [...many(8, 'batch'), ...many(8, 'main')];
    const classes = { batch: { enterScore: 0.01 } };
    const { plan } = live({ ...reactive, classes }, 1, sessions);
    expect(plan.moves.length).toBeGreaterThan(0);
    expect(plan.moves.some((m) => m.session.startsWith('batch'))).toBe(false);
    const notice: EngineInput = {
      kind: 'notice',
      atMs: 2,
      endpoint: 'a',
      what: 'preemption',
      deadlineAtMs: 60_000,
    };
    const forced = live({ ...reactive, classes }, 0.5, sessions, {}, [notice]);
    expect(forced.plan.moves.some((m) => m.session.startsWith('batch'))).toBe(true);
  });

  it('of an endpoint: it is relieved by its own', () => {
    expect(live(reactive, 1, many(10, 'main')).plan.moves.length).toBeGreaterThan(0);
    const { plan, engine } = live(reactive, 1, many(10, 'main'), {
      a: { enterScore: 0.02, leaveScore: 0.04 },
    });
    expect(plan.moves).toEqual([]);
    expect(explain(engine, 'a')).toMatchObject({ leavesBelow: 0.02 });
  });

  it('of an endpoint end where it says, and not before', () => {
    const scores = { enterScore: 0.5, leaveScore: 0.9 };
    const { engine } = live(reactive, 1, many(10, 'main'), { a: scores });
    expect(explain(engine, 'a')).toMatchObject({ leavesBelow: 0.9 });
  });

  it('go by the place of the client, too', () => {
    const sessions = [
      { id: 'far', listener: 'main', location: 'us/east' },
      { id: 'near', listener: 'main', location: 'eu/fra' },
    ];
    const classes = { europe: { location: 'eu', enterScore: 0.995 } };
    const { engine } = live({ ...reactive, classes }, 0.3, sessions);
    expect(explain(engine, 'near')).toMatchObject({ leavesByClass: expect.any(Boolean), location: 'eu/fra' });
    expect(explain(engine, 'far')).toMatchObject({ leavesByClass: null });
  });
});

describe('targets', () => {
  it('near the client are preferred, and a place is no reason to move', () => {
    const labels = (location: string) => ({ labels: { location } });
    const fleet = { a: labels('us/east'), b: labels('eu/fra'), c: labels('us/west') };
    const sessions = Array.from({ length: 8 }, (_, i) => ({ id: `s${i}`, location: 'eu/fra/office' }));
    expect(live(reactive, 0.3, sessions, fleet).plan.moves).toEqual([]);
    const { targets, plan } = live(reactive, 1, sessions, fleet);
    expect([...targets.values()].slice(0, 1)).toEqual(['b']);
    expect([...new Set(targets.values())]).toEqual(['b']);
    expect(plan.moves[0]!.reasons).toContain('target is nearer to the client');
    const west = live(
      reactive,
      1,
      sessions.map((s) => ({ ...s, location: 'us/west/home' })),
      fleet,
    );
    expect([...new Set(west.targets.values())]).toEqual(['c']);
  });

  it('that hold a replica are preferred and cost less', () => {
    const sessions = Array.from({ length: 6 }, (_, i) => ({ id: `s${i}`, buddy: i % 2 === 0 ? 'b' : 'c' }));
    const { engine, targets, plan } = live(reactive, 1, sessions);
    expect(targets.size).toBeGreaterThan(0);
    for (const [id, to] of targets) expect(to).toBe(Number(id.slice(1)) % 2 === 0 ? 'b' : 'c');
    expect(plan.moves[0]!.reasons).toContain('target is the buddy');
    const { buddy, targets: seen } = explain(engine, 's0') as {
      buddy: string;
      targets: { endpoint: string; cost: number; megabytes: number; isBuddy: boolean }[];
    };
    expect(buddy).toBe('b');
    const b = seen.find((t) => t.endpoint === 'b')!;
    const c = seen.find((t) => t.endpoint === 'c')!;
    expect(b.isBuddy && !c.isBuddy).toBe(true);
    expect(b.cost).toBeLessThan(c.cost);
    expect(b.megabytes).toBeCloseTo(c.megabytes / 10, 9);
  });

  it('whose path is full take nobody, if it is known what the path can carry', () => {
    const path = (bandwidthFrom: 'configured' | 'learned'): EngineInput[] =>
      (['b', 'c'] as const).map((endpoint) => ({
        kind: 'path',
        atMs: 2,
        endpoint,
        bandwidthBps: endpoint === 'b' ? 8 : 1e9,
        bandwidthFrom,
      }));
    const known = live(reactive, 1, many(10, 'main'), {}, path('configured'));
    expect([...new Set(known.targets.values())]).toEqual(['c']);
    const learned = live(reactive, 1, many(10, 'main'), {}, path('learned'));
    expect(learned.targets.size).toBeGreaterThan(0);
  });
});

describe('places', () => {
  it('are as near as their widest parts agree', () => {
    expect(nearnessOf('eu/fra/office', 'eu/fra')).toBe(1);
    expect(nearnessOf('eu/par', 'eu/fra')).toBe(0.5);
    expect(nearnessOf('us', 'eu/fra')).toBe(0);
    expect(nearnessOf('', 'eu')).toBe(0);
    expect(nearnessOf('eu', '')).toBe(0);
    expect(isWithin('eu/fra', 'eu')).toBe(true);
    expect(isWithin('europe', 'eu')).toBe(false);
  });
});
