/** `restitch lab move` in short: real clients, real servers, every byte checked. */
import { expect, it } from 'vitest';
import { e2eTimeoutMs, leftoversOf, startRestitch } from './run-restitch.js';

const short = ['--sessions', '6', '--moves', '15', '--moves-per-sec', '15', '--warm-up-moves', '5', '--json'];

/** What must be nought whatever the machine is doing; how many moves kept their deadlines is the machine's affair. */
const nothingNoticed = {
  bytes: { mismatched: 0, lost: 0, duplicated: 0 },
  clientResets: 0,
  stories: [],
};

it.each([
  ['IPv4', []],
  ['IPv6', ['--ipv6']],
  ['bulk in both directions', ['--bulk']],
  ['a slow and lossy link', ['--rtt-ms', '20', '--loss', '0.01']],
])(
  'no client notices its moves: %s',
  async (_what, extra) => {
    const { code, out, err } = await startRestitch(['lab', 'move', ...short, ...extra]);
    const report = JSON.parse(out) as Record<string, unknown>;
    expect(report, err).toMatchObject(nothingNoticed);
    expect(code).toBe(0);
    const keys = [
      'sessions',
      'moves',
      'bytes',
      'clientResets',
      'clientRtos',
      'serverRtos',
      'gapMs',
      'moveMs',
    ];
    expect(Object.keys(report)).toEqual(
      expect.arrayContaining([...keys, 'prepareMs', 'confirmMs', 'unmovedGapMs']),
    );
    expect((report['moves'] as { committed: number }).committed).toBeGreaterThan(0);
    expect((report['bytes'] as { sent: number }).sent).toBeGreaterThan(1000);
    expect(leftoversOf(err)).toEqual([]);
  },
  e2eTimeoutMs,
);

it(
  'an interrupted run takes everything down',
  async () => {
    const args = ['lab', 'move', '--sessions', '4', '--moves', '100000', '--json'];
    const { code, err } = await startRestitch(args, (text, child) => {
      if (text.includes('clients connected')) child.kill('SIGTERM');
    });
    expect(code).not.toBe(0);
    expect(leftoversOf(err)).toEqual([]);
  },
  e2eTimeoutMs,
);
