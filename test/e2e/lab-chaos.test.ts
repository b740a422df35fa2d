/** `restitch lab chaos` in short. */
import { expect, it } from 'vitest';
import { e2eTimeoutMs, leftoversOf, startRestitch } from './run-restitch.js';

it(
  'every kind of fault comes once, and every invariant holds',
  async () => {
    const args = ['lab', 'chaos', '--steps', '20', '--sessions', '8', '--seed', '7', '--json'];
    const { code, out, err } = await startRestitch(args);
    const report = JSON.parse(out) as {
      faults: Record<string, number>;
      invariants: Record<string, { held: number; broken: number }>;
      violations: unknown[];
      takeOvers: { deaths: number };
      clientResets: number;
      bereaved: number;
    };
    expect(report.violations, err).toEqual([]);
    expect(Object.values(report.faults).every((n) => n >= 1)).toBe(true);
    // Killed as owner and as buddy, cut off, stopped; only clients at level none may have been reset by it.
    expect(report.takeOvers.deaths).toBeGreaterThanOrEqual(4);
    expect(report.clientResets).toBeLessThanOrEqual(report.bereaved);
    expect(Object.values(report.invariants).every((i) => i.held >= 1 && i.broken === 0)).toBe(true);
    expect(code).toBe(0);
    expect(leftoversOf(err)).toEqual([]);
  },
  e2eTimeoutMs,
);
