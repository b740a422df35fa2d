/** The demo and the benchmark of moves at a quick pace. */
import { expect, it } from 'vitest';
import { e2eTimeoutMs, leftoversOf, startRestitch } from './run-restitch.js';

it(
  'the demo plays all acts, and no client notices',
  async () => {
    const { code, out, err } = await startRestitch(['demo', '--json', '--pace', '0.1']);
    const report = JSON.parse(out) as {
      isRight: boolean;
      moves: { committed: number };
      transfers: object[];
      crash: { sessions: number; taken: number };
    };
    expect(report, err).toMatchObject({ isRight: true, clientResets: 0, stories: [] });
    expect(report.transfers).toMatchObject([
      { name: 'download', isRight: true },
      { name: 'upload', isRight: true },
    ]);
    expect(report.moves.committed).toBeGreaterThan(0);
    expect(err).toContain('Act 6');
    expect(report.crash.taken).toBeGreaterThan(0);
    expect(report.crash).toMatchObject({ lost: 0, taken: report.crash.sessions });
    expect(err).toContain('Last act');
    expect(report).toMatchObject({ forecast: { lost: 0 } });
    expect(code).toBe(0);
    expect(leftoversOf(err)).toEqual([]);
  },
  e2eTimeoutMs,
);

it(
  'bench move measures real moves',
  async () => {
    const { code, out, err } = await startRestitch(['bench', 'move', '--sessions', '12', '--json']);
    expect(code, err).toBe(0);
    const result = JSON.parse(out) as { hostCpuUs: { p50: number }; drainPerSec: number; moves: number };
    expect(result.hostCpuUs.p50).toBeGreaterThan(0);
    expect(result.drainPerSec).toBeGreaterThan(0);
    expect(result.moves).toBeGreaterThan(10);
    expect(leftoversOf(err)).toEqual([]);
  },
  e2eTimeoutMs,
);
