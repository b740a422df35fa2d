import { describe, expect, it } from 'vitest';
import { AnalyticsEngine } from './analytics-engine.js';
import type { EngineOutput } from './engine-input.js';
import { DEFAULT_ENGINE } from './engine-options.js';
import { engineStatus } from './engine-report.js';

/** Waves that cross the limit, on six endpoints, so that both models have something to learn. */
function drive(engine: AnalyticsEngine, count: number): EngineOutput[] {
  return [...seconds(engine, count)].flatMap(({ said }) => said);
}

/** The same, second by second. */
function* seconds(
  engine: AnalyticsEngine,
  count: number,
): Generator<{ at: number; said: EngineOutput[] }, void, void> {
  let outputs: EngineOutput[] = [];
  const hear: AnalyticsEngine['handle'] = (input) => {
    const said = engine.handle(input);
    outputs.push(...said);
    return said;
  };
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  hear({ kind: 'fleet', atMs: 0, endpoints: names.map((name) => ({ name, accepts: true })) });
  for (let t = 1; t <= count; t++) {
    outputs = [];
    names.forEach((endpoint, e) => {
      const cpuRatio = 0.6 + 0.4 * Math.sin(t / 14 + e) + 0.03 * Math.sin(7.1 * t + e);
      hear({ kind: 'endpoint', atMs: t * 1000 - 500, endpoint, metrics: { cpuRatio, cpuLimitCores: 1 } });
    });
    hear({ kind: 'tick', atMs: t * 1000 });
    if (engine.trainingDue()) hear({ kind: 'train', atMs: t * 1000 });
    yield { at: t, said: outputs };
  }
}

interface CpuReport {
  readonly trees: boolean;
  readonly overload: {
    readonly model: string;
    readonly shadow: object | null;
    readonly canRollBack: boolean;
  };
}

function cpuOf(engine: AnalyticsEngine): CpuReport {
  return (engineStatus(engine) as { metrics: CpuReport[] }).metrics[0]!;
}

describe('models of an engine', () => {
  const options = { ...DEFAULT_ENGINE, trainingRows: 1500, horizonsS: [5, 15] };
  const engine = new AnalyticsEngine(options);
  const outputs = drive(engine, 150);
  const stored = engine.exportModel();

  it('a fitted classifier runs in shadow first: training never replaces what is active', () => {
    const names = outputs.flatMap((o) => (o.kind === 'event' ? o.name : []));
    expect(names).toContain('model-trained');
    const firstFit = names.indexOf('model-trained');
    const promoted = names.indexOf('model-promoted');
    expect(promoted === -1 || promoted > firstFit).toBe(true);
    expect(cpuOf(engine).overload).toMatchObject({ model: 'bands', shadow: expect.any(Object) });
  });

  it('are taken up again by the next engine, and a damaged one means a cold start that is told', () => {
    expect(stored).toBeDefined();
    const next = new AnalyticsEngine({ ...options, storedModel: stored! });
    const said = drive(next, 2);
    expect(cpuOf(next).trees).toBe(true);
    expect(said.some((o) => o.kind === 'event' && o.name === 'cold-start')).toBe(false);
    for (const damaged of [
      '',
      '{}',
      stored!.slice(0, -30),
      stored!.replace(/\d{3}/, '999'),
      '{"version":2}',
    ]) {
      const cold = new AnalyticsEngine({ ...options, storedModel: damaged });
      const heard = drive(cold, 2);
      expect(heard).toContainEqual(expect.objectContaining({ kind: 'event', name: 'cold-start' }));
      expect(cpuOf(cold).trees).toBe(false);
    }
  });

  it('trees that forecast are tried beside the active ones before they replace them', () => {
    const young = new AnalyticsEngine(options);
    let wasTrained = false;
    let report: { trees: boolean; treesInShadow: object | null } | undefined;
    for (const { at, said } of seconds(young, 150)) {
      const names = said.flatMap((o) => (o.kind === 'event' ? o.name : []));
      report = cpuOf(young) as typeof report & CpuReport;
      if (!wasTrained && names.includes('model-trained')) {
        wasTrained = true;
        expect(report, String(at)).toMatchObject({ trees: false, treesInShadow: expect.any(Object) });
      }
    }
    expect(wasTrained).toBe(true);
    expect(report?.trees).toBe(true);
  });

  it('a rollback survives a restart: before it and after it', () => {
    expect(cpuOf(engine).overload.canRollBack).toBe(true);
    const next = new AnalyticsEngine({ ...options, storedModel: engine.exportModel()! });
    drive(next, 2);
    expect(cpuOf(next)).toMatchObject({ trees: true, overload: { canRollBack: true } });
    expect(next.handle({ kind: 'rollback', atMs: 3000 })).toHaveLength(1);
    expect(cpuOf(next)).toMatchObject({ trees: false, overload: { canRollBack: false } });
    const after = next.exportModel();
    expect(after).toBeUndefined();
    const last = new AnalyticsEngine({ ...options, storedModel: '{"version":1,"metrics":{}}' });
    expect(drive(last, 2)).not.toContainEqual(expect.objectContaining({ name: 'cold-start' }));
    expect(cpuOf(last)).toMatchObject({ trees: false, overload: { canRollBack: false } });
  });

  it('go back to the one before when the operator says so, if there was one', () => {
    const { canRollBack } = cpuOf(engine).overload;
    const said = engine.handle({ kind: 'rollback', atMs: 200_000 });
    expect(said.length).toBe(canRollBack ? 1 : 0);
    expect(cpuOf(engine).overload.canRollBack).toBe(false);
  });
});
