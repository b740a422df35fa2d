import { describe, expect, it } from 'vitest';
import { runPlannerBench } from './planner-bench.js';

describe('planner benchmark', () => {
  it('prints every promised key and stays near the bound on small fleets', async () => {
    const report = await runPlannerBench({
      sessions: 5_000,
      endpoints: 50,
      metrics: 1,
      instances: [
        [400, 10],
        [500, 20],
      ],
    });
    expect(Object.keys(report)).toEqual(
      expect.arrayContaining([
        'sessions',
        'endpoints',
        'ingestMs',
        'planMs',
        'forecastMs',
        'bytesPerSession',
        'idIndexBytesPerSession',
        'inlineNs',
        'optimumRatio',
      ]),
    );
    expect(report.bytesPerSession).toBeLessThanOrEqual(200);
    expect(report.optimumRatio.worst).toBeGreaterThanOrEqual(0.95);
    expect(report.optimumRatio.worst).toBeLessThanOrEqual(1 + 1e-9);
  }, 60_000);
});
