/** The real programs: clients in every phase of a connection's end, while endpoints die, leave or are drained. */
import { describe, expect, it } from 'vitest';
import { e2eTimeoutMs, leftoversOf, startRestitch } from './run-restitch.js';

async function report(...args: string[]): Promise<Record<string, unknown>> {
  const { out, err } = await startRestitch(['lab', ...args, '--json']);
  expect(out, err).toMatch(/^\{/);
  return JSON.parse(out) as Record<string, unknown>;
}

describe('clients in the phases of their end', () => {
  it.each([
    ['notice nothing at level commit when their server is killed', 'commit', 'process', 2],
    ['are moved away by a server that is told to leave, at level none, too', 'none', 'term', 1],
  ])(
    '%s',
    async (_what, level, fault, kills) => {
      const args = ['--sessions', '24', '--kills', String(kills), '--level', level, '--fault', fault];
      const found = await report('crash', ...args);
      expect(found).toMatchObject({ kindStories: [], stories: [], earlyEofs: 0, acceptedResets: 0 });
      expect(found).toMatchObject({ clientResets: 0, bytes: { lost: 0, duplicated: 0, mismatched: 0 } });
      expect(Object.keys(found['kinds'] as object)).toHaveLength(12);
    },
    e2eTimeoutMs,
  );
});

describe('tails', () => {
  it.each(['none', 'commit'])(
    'leave with a drain, and come whole when the host is taken away afterwards, at level %s',
    async (level) => {
      const found = await report('tails', '--sessions', '10', '--level', level);
      expect(found).toMatchObject({ isDrained: true, leftBehind: 0, complete: 10, stories: [] });
      expect(found).toMatchObject({ lostBytes: 0, doubledBytes: 0, wrongBytes: 0 });
    },
    e2eTimeoutMs,
  );
});

describe('clients that connect while an endpoint dies', () => {
  it.each([['burst'], ['accept-queue']])(
    'are served or told soon: %s',
    async (experiment) => {
      const found = await report(experiment, '--connects', '20');
      expect(found).toMatchObject({ refused: 0, cutShort: 0, stuck: 0, late: 0, resetAccepted: 0 });
      expect(Number(found['served']) + Number(found['reset'])).toBe(20);
      if (experiment === 'accept-queue') expect(found['queued']).toBe(20);
    },
    e2eTimeoutMs,
  );
});

it(
  'a stranger can kill, end, start, cut and heal an endpoint of a protected laboratory',
  async () => {
    const up = await startRestitch(['lab', 'up', '--protected', '--id', `p${process.pid}`, '--json']);
    const lab = (...args: string[]): ReturnType<typeof startRestitch> =>
      startRestitch(['lab', ...args, '--lab', `p${process.pid}`]);
    try {
      expect(up.code, up.err).toBe(0);
      expect(JSON.parse(up.out)).toMatchObject({
        ports: { echo: 7000, files: 8080, 'echo-none': 7001, 'echo-periodic': 7005 },
      });
      for (const what of ['kill', 'start', 'cut', 'heal', 'stop', 'cont', 'term', 'start']) {
        const { code, err } = await lab('endpoint', what, 'a');
        expect(code, `${what}: ${err}`).toBe(0);
      }
      // It runs already.
      expect((await lab('endpoint', 'start', 'a')).code).toBe(2);
    } finally {
      await lab('down');
    }
    expect(leftoversOf(up.err)).toEqual([]);
  },
  e2eTimeoutMs,
);
