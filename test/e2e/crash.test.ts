/** The real programs: endpoints die under clients that know nothing of it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const restitch = new URL('../../packages/cli/bin/restitch.js', import.meta.url).pathname;

async function crash(...args: string[]): Promise<Record<string, unknown>> {
  const all = [restitch, 'lab', 'crash', '--sessions', '6', '--json', ...args];
  const { stdout } = await run(process.execPath, all, { timeout: 150_000 });
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe('sessions at lower levels', () => {
  it.each(['none', 'periodic'])(
    'get what level %s promises when their server is killed: a reset, or every byte',
    async (level) => {
      const report = await crash('--kills', '2', '--level', level);
      expect(report).toMatchObject({
        clientResets: 0,
        bytes: { lost: 0, duplicated: 0, mismatched: 0 },
        promised: { level, truncated: 0, wrongBytes: 0 },
        stories: [],
      });
    },
    180_000,
  );
});

describe('sessions at level commit', () => {
  it.each([
    ['the process is killed', ['--kills', '2']],
    ['the host is cut off', ['--kills', '1', '--fault', 'host']],
    ['the process is stopped, taken over, and goes on', ['--kills', '1', '--fault', 'stop', '--ipv6']],
  ])(
    'live on when %s: no reset, no byte lost, doubled or wrong',
    async (_what, args) => {
      const report = await crash(...args);
      expect(report).toMatchObject({
        clientResets: 0,
        lost: 0,
        bytes: { lost: 0, duplicated: 0, mismatched: 0 },
        stories: [],
      });
      expect(report['taken']).toBeGreaterThan(0);
    },
    180_000,
  );
});
