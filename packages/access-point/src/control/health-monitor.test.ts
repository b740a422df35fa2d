/** The TCP probe; silence and its consequences are in control-plane.test.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { HealthMonitor, probeTcp } from './health-monitor.js';
import { testConfig } from '../testing/test-config.js';
import { World } from '../testing/world.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-health-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

it('makes an endpoint suspect whose probe is not accepted, and leaves it alone otherwise', async () => {
  const config = testConfig(
    directory,
    'health: {suspectAfter: 60s, deadAfter: 90s, tcpProbe: {interval: 1s, timeout: 100ms}}',
  );
  const world = new World(testConfig(directory, 'health: {suspectAfter: 60s, deadAfter: 90s}'), ['a', 'b']);
  for (const name of ['a', 'b']) world.connect(name);
  await world.settle();
  const { endpoints } = world.core.state;
  let isAccepting = true;
  const monitor = new HealthMonitor({
    ...world.core.state,
    clock: world.clock,
    policy: () => config.health,
    services: () => config.listeners,
    setLiveness: (endpoint, liveness) => {
      endpoint.liveness = liveness;
    },
    onDown: () => undefined,
    probe: () => Promise.resolve(isAccepting),
  });
  monitor.start();
  await world.clock.advance(1500);
  expect(endpoints.require('a').liveness).toBe('healthy');
  isAccepting = false;
  await world.clock.advance(1500);
  expect(endpoints.require('a').liveness).toBe('suspect');
  const beat = async (): Promise<void> => {
    world.link('a')?.fromEndpoint({ t: 'heartbeat', n: 1, sessions: 0, eventLoopDelayMs: 0 });
    await world.settle();
  };
  await beat();
  expect(endpoints.require('a').liveness).toBe('suspect');
  isAccepting = true;
  await world.clock.advance(1500);
  await beat();
  expect(endpoints.require('a').liveness).toBe('healthy');
  monitor.close();
});

it('gives the data plane one changed service a turn, and all of them in the end', async () => {
  const base = testConfig(directory);
  const second = { name: 'm2', vip: { address: '10.0.0.101', port: 7000 }, weights: {} };
  const world = new World({ ...base, listeners: [...base.listeners, second] }, ['a', 'b']);
  for (const name of ['a', 'b']) {
    world.connect(name);
    const hello = world.link(name)?.toAccessPoint[0];
    if (hello?.t === 'hello') hello.listeners.push({ name: 'm2', vip: second.vip });
  }
  await world.settle();
  await world.clock.advance(20);
  const counts = (): number[] => world.dataplane.services.map((s) => s.backends.length);
  expect(counts()).toEqual([2, 2]);
  const { drains, endpoints } = world.core.state;
  drains.start(endpoints.require('a'), 60_000, 'wait');
  expect(counts()).toEqual([1, 2]);
  await world.clock.advance(5);
  expect(counts()).toEqual([1, 1]);
  drains.stop(endpoints.require('a'));
  await world.clock.advance(5);
  expect(counts()).toEqual([2, 2]);
});

it('probes by a TCP connect', async () => {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  expect(await probeTcp({ address: '127.0.0.1', port }, 1000)).toBe(true);
  await new Promise((resolve) => server.close(resolve));
  expect(await probeTcp({ address: '127.0.0.1', port }, 1000)).toBe(false);
});
