/** The TCP probe; silence and its consequences are in control-plane.test.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { HealthMonitor, probeTcp } from './health-monitor.js';
import { testConfig } from './testing/test-config.js';
import { World } from './testing/world.js';

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

it('probes by a TCP connect', async () => {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  expect(await probeTcp({ address: '127.0.0.1', port }, 1000)).toBe(true);
  await new Promise((resolve) => server.close(resolve));
  expect(await probeTcp({ address: '127.0.0.1', port }, 1000)).toBe(false);
});
