/** Certain events: from hand, hook, configuration and drain, and over a restart of the daemon. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { EngineInput } from '@restitch/analytics';
import { createCounters, silentLogger } from '@restitch/core';
import { afterEach, describe, expect, it } from 'vitest';
import type { MaintenanceWindow } from '../config/index.js';
import { EndpointRegistry } from '../model/endpoint-registry.js';
import { VirtualClock } from '../testing/virtual-clock.js';
import { openNoticeHook } from './notice-hook.js';
import { Notices } from './notices.js';

const cleanups: Array<() => void | Promise<void>> = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Bench {
  readonly clock: VirtualClock;
  readonly directory: string;
  readonly notices: Notices;
  readonly endpoints: EndpointRegistry;
  readonly told: Array<{ endpoint: string; what: string; inMs: number }>;
  readonly counters: ReturnType<typeof createCounters>;
  windows: MaintenanceWindow[];
  drainDeadlineMs: number | undefined;
}

function open(directory?: string, clock = new VirtualClock()): Bench {
  const place = directory ?? mkdtempSync(join(tmpdir(), 'restitch-notices-'));
  if (directory === undefined) cleanups.push(() => rmSync(place, { recursive: true }));
  const endpoints = new EndpointRegistry({ idOf: (n) => n.charCodeAt(0), names: () => [] }, () => 100);
  for (const name of ['a', 'b']) endpoints.ensure(name);
  const told: Bench['told'] = [];
  const counters = createCounters();
  const push = (input: EngineInput): void => {
    if (input.kind !== 'notice') return;
    const { endpoint, what, deadlineAtMs, atMs } = input;
    told.push({ endpoint, what, inMs: what === 'none' ? 0 : Math.round(deadlineAtMs - atMs) });
  };
  const bench: Bench = {
    clock,
    directory: place,
    endpoints,
    told,
    counters,
    windows: [],
    drainDeadlineMs: undefined,
    notices: new Notices({
      clock,
      counters,
      logger: silentLogger,
      endpoints,
      sink: { push },
      stateDirectory: place,
      maintenance: (name) => (name === 'a' ? bench.windows : []),
      drainDeadlineMs: (name) => (name === 'a' ? bench.drainDeadlineMs : undefined),
    }),
  };
  bench.notices.start();
  cleanups.push(() => bench.notices.close());
  return bench;
}

describe('a notice by hand', () => {
  it('reaches the engine at once with its deadline, and is taken back', () => {
    const { notices, endpoints, told } = open();
    const a = endpoints.require('a');
    notices.give(a, 'preemption', 120_000, 'operator');
    expect(notices.all()).toEqual([{ endpoint: 'a', what: 'preemption', inMs: 120_000, from: 'operator' }]);
    expect(notices.cancel(a)).toBe(true);
    expect(notices.cancel(a)).toBe(false);
    expect(told).toEqual([
      { endpoint: 'a', what: 'preemption', inMs: 120_000 },
      { endpoint: 'a', what: 'none', inMs: 0 },
    ]);
    expect(notices.all()).toEqual([]);
  });

  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY, 8 * 86_400_000])('in %s ms is refused', (inMs) => {
    const { notices, endpoints } = open();
    expect(() => notices.give(endpoints.require('a'), 'preemption', inMs, 'operator')).toThrow(/notice in/);
  });

  it('survives the daemon, with the time that has passed', async () => {
    const first = open();
    first.notices.give(first.endpoints.require('b'), 'preemption', 120_000, 'hook');
    first.notices.close();
    await first.clock.advance(50_000);
    const second = open(first.directory, first.clock);
    expect(second.told).toEqual([{ endpoint: 'b', what: 'preemption', inMs: 70_000 }]);
  });

  it('is forgotten an hour after its deadline', async () => {
    const { notices, endpoints, told, clock } = open();
    notices.give(endpoints.require('a'), 'maintenance', 1000, 'operator');
    for (let i = 0; i < 61; i++) await clock.advance(60_000);
    expect(told.at(-1)).toEqual({ endpoint: 'a', what: 'none', inMs: 0 });
  });

  it('in a damaged file costs the notices, not the daemon, and is counted', () => {
    const directory = mkdtempSync(join(tmpdir(), 'restitch-notices-'));
    cleanups.push(() => rmSync(directory, { recursive: true }));
    writeFileSync(join(directory, 'notices.json'), '[{"endpoint": "a", "what"');
    const { notices, counters } = open(directory);
    expect(notices.all()).toEqual([]);
    expect(counters.get('notices_damaged_total')).toBe(1);
  });
});

describe('what else is certain', () => {
  it('a maintenance window is told in time, and over when it is over', async () => {
    const bench = open();
    const startAtMs = bench.clock.wallMs() + 100_000;
    bench.windows = [{ startAtMs, durationMs: 30_000, noticeMs: 60_000 }];
    await bench.clock.advance(39_000);
    expect(bench.told).toEqual([]);
    await bench.clock.advance(2000);
    expect(bench.told).toHaveLength(1);
    expect(bench.told[0]).toMatchObject({ endpoint: 'a', what: 'maintenance' });
    expect(bench.told[0]?.inMs).toBeGreaterThan(58_000);
    await bench.clock.advance(95_000);
    expect(bench.told.slice(1)).toEqual([{ endpoint: 'a', what: 'none', inMs: 0 }]);
  });

  it('of a drain and a preemption the earlier deadline counts, and the other when that is off', () => {
    const bench = open();
    const a = bench.endpoints.require('a');
    bench.drainDeadlineMs = bench.clock.wallMs() + 600_000;
    bench.notices.drainChanged(a);
    bench.notices.give(a, 'preemption', 120_000, 'operator');
    bench.notices.cancel(a);
    bench.drainDeadlineMs = undefined;
    bench.notices.drainChanged(a);
    expect(bench.told.map((t) => [t.what, t.inMs])).toEqual([
      ['drain', 600_000],
      ['preemption', 120_000],
      ['drain', 600_000],
      ['none', 0],
    ]);
  });
});

describe('the HTTP hook', () => {
  async function hook(): Promise<
    Bench & { curl(...args: string[]): Promise<{ status: number; body: unknown }> }
  > {
    const bench = open();
    const path = join(bench.directory, 'sub', 'notice.sock');
    const server = await openNoticeHook(path, { ...bench, logger: silentLogger });
    cleanups.push(() => server.close());
    expect(statSync(path).mode & 0o777).toBe(0o660);
    const curl = async (...args: string[]): Promise<{ status: number; body: unknown }> => {
      const line = ['-sS', '-m', '10', '--unix-socket', path, '-w', '\n%{http_code}', ...args];
      const { stdout } = await promisify(execFile)('curl', line);
      const [body = '', status] = stdout.trim().split(/\n(?=\d+$)/);
      return { status: Number(status), body: JSON.parse(body) as unknown };
    };
    return { ...bench, curl };
  }
  const url = 'http://localhost/endpoints/a/notice';

  it('takes a notice as curl sends it, shows it, and takes it back', async () => {
    const { curl, told } = await hook();
    const given = await curl('-d', '{"in": "120s"}', url);
    expect(given).toMatchObject({ status: 200, body: { endpoint: 'a', what: 'preemption', from: 'hook' } });
    expect(told).toEqual([{ endpoint: 'a', what: 'preemption', inMs: 120_000 }]);
    expect((await curl('http://localhost/notices')).body).toMatchObject({ notices: [{ endpoint: 'a' }] });
    expect((await curl('-X', 'DELETE', url)).body).toEqual({ cancelled: true });
    expect(told.at(-1)).toMatchObject({ what: 'none' });
  });

  it.each([
    ['an endpoint nobody knows', ['-d', '{}', 'http://localhost/endpoints/zz/notice'], 404],
    ['a time without a unit', ['-d', '{"in": "120"}', url], 400],
    ['an event it does not know', ['-d', '{"what": "rain"}', url], 400],
    ['no JSON', ['-d', 'in=120s', url], 400],
    ['a body that does not end', ['-d', 'x'.repeat(10_000), url], 400],
    ['another place', ['http://localhost/'], 400],
    ['another verb', ['-X', 'PUT', url], 400],
  ])('refuses %s', async (_, args, status) => {
    const { curl, told } = await hook();
    expect((await curl(...args)).status).toBe(status);
    expect(told).toEqual([]);
  });

  it('writes what survives a restart before it answers', async () => {
    const { curl, directory } = await hook();
    await curl('-d', '{"in": "10m", "what": "maintenance"}', url);
    expect(readFileSync(join(directory, 'notices.json'), 'utf8')).toContain('maintenance');
  });
});
