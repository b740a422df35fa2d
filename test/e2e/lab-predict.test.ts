/** `restitch lab predict` in short: quotas, real traffic and the daemon's own analytics work together, and nothing is lost. */
import { expect, it } from 'vitest';
import { e2eTimeoutMs, leftoversOf, startRestitch } from './run-restitch.js';

it(
  'no client loses anything, with and without the forecast in charge',
  async () => {
    const args = ['--pattern', 'ramp', '--modes', 'none,predictive', '--repeats', '1', '--scale', '0.35'];
    const { code, out, err } = await startRestitch(['lab', 'predict', ...args, '--json']);
    const report = JSON.parse(out) as {
      lost: number;
      modes: Record<'none' | 'predictive', { runs: Array<{ requests: number }>; moves: number }>;
      calibration: { weight: number } | null;
    };
    expect(report.lost, err).toBe(0);
    expect(report.modes.none.moves).toBe(0);
    for (const { runs } of Object.values(report.modes)) expect(runs[0]?.requests).toBeGreaterThan(100);
    expect(report.calibration?.weight).toBeGreaterThan(0);
    expect(code).toBe(0);
    expect(leftoversOf(err)).toEqual([]);
  },
  e2eTimeoutMs,
);
