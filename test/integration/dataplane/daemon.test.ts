/** The process that owns the data plane is killed; traffic goes on and the next one takes over. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Flow } from '@restitch/core';
import { openDataplane } from '@restitch/dataplane';
import type { DataplaneOptions } from '@restitch/dataplane';
import { enterNetworkNamespace } from '@restitch/sys/internal';
import { upTestNetwork, vip4 } from './network.js';
import type { Peer, TestNetwork } from './network.js';
import { useBpfDirectory } from '../../bpf-directory.js';

const bpf = useBpfDirectory();
const port = 7000;

let network: TestNetwork;
let options: DataplaneOptions;
let client: Peer;
const daemons: ChildProcess[] = [];

beforeAll(async () => {
  network = upTestNetwork('kill');
  enterNetworkNamespace(network.namespace('ap'));
  options = {
    interfaceName: 'eth0',
    pinDirectory: `${bpf}/pins`,
    holdDevice: 'rs-hold0',
    maxFlows: 1000,
    maxHalfOpen: 1000,
    holdBounds: { flowBytes: 1 << 20, totalBytes: 16 << 20 },
  };
  await network.peer('a').ask({ action: 'serve', port, greeting: 'a' });
  await network.peer('b').ask({ action: 'serve', port, greeting: 'b' });
  client = network.peer('client');
});

afterAll(() => {
  for (const daemon of daemons) daemon.kill('SIGKILL');
  if (existsSync(options.pinDirectory)) openDataplane(options).destroy();
  network?.down();
});

interface Daemon {
  readonly isAdopted: boolean;
  call(name: string, ...args: unknown[]): Promise<unknown>;
  kill(): Promise<void>;
}

/** Runs the built package, as users do: `tsc -b` comes first. */
async function startDaemon(): Promise<Daemon> {
  const script = fileURLToPath(new URL('daemon.mjs', import.meta.url));
  const stdio = ['ignore', 'ignore', 'ignore', 'ipc'] as const;
  const child = fork(script, [JSON.stringify(options)], { execArgv: [], stdio: [...stdio] });
  daemons.push(child);
  const answer = async (): Promise<Record<string, unknown>> => {
    const [message] = (await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error('daemon ended'))),
    ])) as [Record<string, unknown>];
    return message;
  };
  const { isAdopted } = (await answer()) as { isAdopted: boolean };
  return {
    isAdopted,
    async call(name, ...args) {
      child.send({ call: name, args });
      return (await answer())['value'];
    },
    async kill() {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}

async function connect(name: string): Promise<Flow> {
  const { port: local } = (await client.ask({ action: 'connect', name, host: vip4, port })) as {
    port: number;
  };
  return { client: { address: network.address('client'), port: local }, vip: { address: vip4, port } };
}

const backends = (endpointId: number) => [{ endpointId, weight: 1 }];

it('a daemon that died before ownership was rebuilt leaves the rebuilding to the next', async () => {
  for (let i = 0; i < 2; i++) {
    const daemon = await startDaemon();
    expect(daemon.isAdopted).toBe(false);
    await daemon.kill();
  }
});

it('traffic flows on without a daemon, and the next one takes over records, services and endpoints', async () => {
  const first = await startDaemon();
  expect(first.isAdopted).toBe(false);
  await first.call('setTarget', { endpointId: 1, dataAddress: network.address('a') });
  await first.call('setTarget', { endpointId: 2, dataAddress: network.address('b') });
  await first.call('setServices', [{ address: vip4, port, backends: backends(1) }]);
  await first.call('setRebuilding', false);
  const flow = await connect('survivor');
  const traffic = client.ask({ action: 'rounds', name: 'survivor', ms: 1500 });
  // A second daemon beside a living one gets nothing and breaks nothing.
  await expect(startDaemon()).rejects.toThrow('daemon ended');
  expect(await first.call('apply', [{ op: 'release', flow, epoch: 0 }])).toEqual(['ok']);
  await first.kill();

  await connect('during');
  const second = await startDaemon();
  expect(second.isAdopted).toBe(true);
  expect(await second.call('lookup', flow)).toMatchObject({ endpointId: 1, epoch: 0, phase: 'active' });
  await second.call('setServices', [{ address: vip4, port, backends: backends(2) }]);
  expect(((await traffic) as { count: number }).count).toBeGreaterThan(0);
  const during = await connect('after');
  expect(await second.call('lookup', during)).toMatchObject({ endpointId: 2 });
  await second.kill();
});

it('a flow that was held when the daemon died is released by the next one and loses nothing', async () => {
  const first = await startDaemon();
  const flow = await connect('held');
  const deadlineNs = Number(process.hrtime.bigint() / 1_000_000n) * 1e6 + 60e9;
  expect(await first.call('applyHold', flow, deadlineNs)).toEqual(['ok']);
  await client.ask({ action: 'send', name: 'held', text: 'kept' });
  await expect(client.ask({ action: 'receive', name: 'held', bytes: 1, timeoutMs: 100 })).rejects.toThrow();
  await first.kill();

  const second = await startDaemon();
  expect(await second.call('lookup', flow)).toMatchObject({ phase: 'hold' });
  await client.ask({ action: 'send', name: 'held', text: ' and more' });
  expect(await second.call('apply', [{ op: 'release', flow, epoch: 0 }])).toEqual(['ok']);
  // What was in the dead daemon's device comes again from the client, which was never told otherwise.
  expect(await client.ask({ action: 'receive', name: 'held', bytes: 13, timeoutMs: 20_000 })).toBe(
    'kept and more',
  );
  expect(await second.call('lookup', flow)).toMatchObject({ phase: 'active' });
  expect(await second.call('stats')).toMatchObject({ heldBytes: 0 });
  await second.kill();
});

it('pins of another layout are refused by name and stay untouched', () => {
  const [own] = readdirSync(options.pinDirectory);
  mkdirSync(`${options.pinDirectory}/layout-999`);
  expect(() => openDataplane(options)).toThrow(/has pins of layout-999, this version makes layout-\d+/);
  expect(readdirSync(options.pinDirectory).sort()).toEqual([own, 'layout-999'].sort());
  rmdirSync(`${options.pinDirectory}/layout-999`);
});
