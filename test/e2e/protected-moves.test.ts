/** The real programs: sessions at level commit are moved and drained under clients that know nothing of it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const restitch = new URL('../../packages/cli/bin/restitch.js', import.meta.url).pathname;

async function lab(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await run(process.execPath, [restitch, 'lab', ...args, '--json'], { timeout: 150_000 });
  return JSON.parse(stdout) as Record<string, unknown>;
}

const nothingLost = {
  clientResets: 0,
  bytes: { lost: 0, duplicated: 0, mismatched: 0 },
  stories: [],
};

describe('planned moves of sessions at level commit', () => {
  it.each([
    ['that ask and get answers', []],
    ['with long streams both ways', ['--bulk', '--bulk-rate', '300000', '--ipv6']],
  ])(
    'lose, double and reset nothing for clients %s; those to the buddy send less',
    async (_what, args) => {
      const size = ['--level', 'commit', '--sessions', '8', '--moves', '60', '--moves-per-sec', '20'];
      const report = await lab('move', ...size, '--warm-up-moves', '10', ...args);
      expect(report).toMatchObject(nothingLost);
      const { toBuddy, toOthers, imageBytesToBuddy, imageBytesToOthers } = report['protectedMoves'] as {
        readonly toBuddy: number;
        readonly toOthers: number;
        readonly imageBytesToBuddy: { readonly p50: number };
        readonly imageBytesToOthers: { readonly p50: number };
      };
      expect(toBuddy).toBeGreaterThan(0);
      expect(toOthers).toBeGreaterThan(0);
      expect(imageBytesToBuddy.p50).toBeLessThan(imageBytesToOthers.p50);
    },
    180_000,
  );

  it('empty an endpoint that is drained, and its replicas leave it, too, before it ends', async () => {
    const report = await lab(
      'rolling',
      '--by',
      'drain',
      '--endpoints',
      '4',
      '--sessions',
      '8',
      '--rounds',
      '1',
    );
    expect(report).toMatchObject({ ...nothingLost, lost: 0, taken: 0, replicasLeft: 0, restarts: 4 });
    expect(report['moved']).toBeGreaterThan(0);
  }, 180_000);
});
