import { describe, expect, it } from 'vitest';
import { AnalyticsEngine } from './analytics-engine.js';
import type { EngineInput, EngineOutput } from './engine-input.js';
import { DEFAULT_ENGINE } from './engine-options.js';
import { engineStatus } from './engine-report.js';

/** Waves that cross the limit, on six endpoints, so that both models have something to learn. */
function drive(engine: AnalyticsEngine, seconds: number): EngineOutput[] {
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const outputs: EngineOutput[] = [];
  const take = (input: EngineInput): void => void outputs.push(...engine.handle(input));
  take({ kind: 'fleet', atMs: 0, endpoints: names.map((name) => ({ name, accepts: true })) });
  for (let t = 1; t <= seconds; t++) {
    names.forEach((endpoint, e) => {
      const cpuRatio = 0.6 + 0.4 * Math.sin(t / 14 + e) + 0.03 * Math.sin(7.1 * t + e);
      take({ kind: 'endpoint', atMs: t * 1000 - 500, endpoint, metrics: { cpuRatio, cpuLimitCores: 1 } });
    });
    take({ kind: 'tick', atMs: t * 1000 });
    if (engine.trainingDue()) take({ kind: 'train', atMs: t * 1000 });
  }
  return outputs;
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
    expect(names).not.toContain('model-promoted');
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

  it('go back to the one before when the operator says so, if there was one', () => {
    const { canRollBack } = cpuOf(engine).overload;
    const said = engine.handle({ kind: 'rollback', atMs: 200_000 });
    expect(said.length).toBe(canRollBack ? 1 : 0);
    expect(cpuOf(engine).overload.canRollBack).toBe(false);
  });
});
