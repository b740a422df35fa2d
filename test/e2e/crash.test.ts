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

  it('are reset honestly when owner and buddy die together, also those that only read', async () => {
    const report = await crash('--sessions', '18', '--kills', '1', '--fault', 'both');
    expect(report).toMatchObject({ wrongResets: 0, hung: 0, clientResets: 0, stories: [] });
    expect(report['honestResets']).toBe(report['doomed']);
    expect(report['honestResets']).toBeGreaterThan(0);
  }, 180_000);

  it('notice nothing when their buddy dies', async () => {
    // Enough that the hash cannot leave the victim without a replica.
    const report = await crash('--sessions', '16', '--kills', '1', '--fault', 'buddy');
    expect(report).toMatchObject({ clientResets: 0, taken: 0, lost: 0, stories: [] });
    expect(report['rereplicated']).toBeGreaterThan(0);
  }, 180_000);

  it('live on when the access point`s daemon dies with their endpoint', async () => {
    const report = await crash('--kills', '1', '--fault', 'daemon');
    expect(report).toMatchObject({ clientResets: 0, lost: 0, stories: [] });
    expect(report['taken']).toBeGreaterThan(0);
  }, 180_000);
});

describe('the capture at the client', () => {
  it.each([
    ['fenced', 0],
    ['unfenced', 1],
  ])(
    'of frames forged in the old owner`s name, %s, sees them or not: exit code %i',
    async (forge, code) => {
      const args = ['--kills', '1', '--fault', 'stop', '--forge', forge];
      const failure = await crash(...args).then(
        (report) => ({ code: 0, stdout: JSON.stringify(report) }),
        (error: { code: number; stdout: string }) => error,
      );
      const report = JSON.parse(failure.stdout) as { fencedBytes: number };
      expect(failure.code).toBe(code);
      expect(report.fencedBytes > 0).toBe(code === 1);
    },
    180_000,
  );
});
