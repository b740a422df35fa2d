/** What `npm run vm` calls passed and failed, and how it ends when there is nothing to try. */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
// @ts-expect-error a script has no types
import { experiments } from '../../scripts/vm/experiments.mjs';

interface Experiment {
  readonly name: string;
  readonly isGood: (report: unknown) => boolean;
  readonly tell: (report: unknown) => string;
}

const bytes = { sent: 100, received: 100, lost: 0, duplicated: 0, mismatched: 0 };
const clean = { bytes, clientResets: 0, stories: [] };
const good: Record<string, Record<string, unknown>> = {
  'every program loads': { checks: [{ name: 'program steer', status: 'ok', found: 'loads' }] },
  'a move': { ...clean, moves: { committed: 5, reverted: 1, refused: 0, failed: 0 } },
  'a kill at commit': { ...clean, kills: 1, taken: 2, lost: 0 },
  'a drain': { ...clean, restarts: 3, moved: 4, lost: 0, taken: 0, replicasLeft: 0 },
};
const bad: ReadonlyArray<readonly [string, Record<string, unknown>]> = [
  ['every program loads', { checks: [{ name: 'program steer', status: 'missing', found: 'EACCES: R0' }] }],
  ['every program loads', { checks: [{ name: 'bpf', status: 'ok', found: 'works' }] }],
  ...['a move', 'a kill at commit', 'a drain'].flatMap((name) =>
    [
      { bytes: { ...bytes, lost: 1 } },
      { bytes: { ...bytes, duplicated: 1 } },
      { bytes: { ...bytes, mismatched: 1 } },
      { bytes: { ...bytes, received: 0 } },
      { clientResets: 1 },
      { stories: ['c0: hangs'] },
    ].map((change): readonly [string, Record<string, unknown>] => [name, change]),
  ),
  ['a move', { moves: { committed: 0, reverted: 6, refused: 0, failed: 0 } }],
  ['a move', { moves: { committed: 5, reverted: 0, refused: 0, failed: 1 } }],
  ['a kill at commit', { taken: 0 }],
  ['a kill at commit', { lost: 1 }],
  ['a drain', { moved: 0 }],
  ['a drain', { lost: 1 }],
  ['a drain', { taken: 1 }],
  ['a drain', { replicasLeft: 1 }],
];

describe.each(experiments as readonly Experiment[])('$name', ({ name, isGood, tell }) => {
  it('passes when nothing is lost', () => {
    expect(isGood(good[name])).toBe(true);
    expect(tell(good[name])).toMatch(/loads|0 lost/);
  });

  it.each(bad.filter(([of]) => of === name).map(([, change]) => [JSON.stringify(change), change] as const))(
    'fails with %s',
    (_text, change) => {
      expect(isGood({ ...good[name], ...change })).toBe(false);
    },
  );
});

describe('the command', () => {
  const main = fileURLToPath(new URL('../../scripts/vm/main.mjs', import.meta.url));
  const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });

  it.each([
    [[], 'which kernels?'],
    [['bookworm'], 'which kernels?'],
    [['6.1', '--only', 'nonsense'], 'no experiment has "nonsense"'],
    [['6.1', '--nonsense'], '--nonsense'],
  ])('refuses %j with a sentence and exit code 2', (args, sentence) => {
    const { status, stderr } = run(...args);
    expect([status, stderr]).toEqual([2, expect.stringContaining(sentence)]);
  });

  it('says why a kernel cannot be booted, with exit code 2', () => {
    const { status, stderr, stdout } = run('5.99', '--only', 'move', '--json');
    expect(stderr).toMatch(/^FAIL {2}5\.99 {2}a move .*no package of a 5\.99 kernel/m);
    const report = JSON.parse(stdout) as { results: Array<{ directory: string }> };
    expect(report).toMatchObject({ ok: false, results: [{ isBooted: false, isPassed: false }] });
    expect(status).toBe(2);
    // A failure leaves what it saw.
    for (const { directory } of report.results) rmSync(directory, { recursive: true });
  }, 120_000);
});
