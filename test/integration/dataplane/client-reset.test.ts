/** Clients of sessions that nobody has any more are reset by the access point alone, in their own kernel's eyes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Flow } from '@restitch/core';
import { openDataplane } from '@restitch/dataplane';
import type { Dataplane } from '@restitch/dataplane';
import { enterNetworkNamespace } from '@restitch/sys/internal';
import { upTestNetwork, vip4, vip6 } from './network.js';
import type { Peer, TestNetwork } from './network.js';
import { useBpfDirectory } from '../../bpf-directory.js';

const bpf = useBpfDirectory();
const port = 7000;
let network: TestNetwork;
let dataplane: Dataplane;
let client: Peer;

beforeAll(async () => {
  network = upTestNetwork('reset');
  enterNetworkNamespace(network.namespace('ap'));
  dataplane = openDataplane({
    interfaceName: 'eth0',
    pinDirectory: `${bpf}/pins`,
    holdDevice: 'rs-hold0',
    maxFlows: 1000,
    maxHalfOpen: 1000,
    holdBounds: { flowBytes: 1 << 20, totalBytes: 16 << 20 },
  });
  dataplane.setRebuilding(false);
  await network.peer('a').ask({ action: 'serve', port, greeting: 'a' });
  dataplane.setTarget({ endpointId: 1, dataAddress: network.address('a') });
  const backends = [{ endpointId: 1, weight: 1 }];
  dataplane.setServices([vip4, vip6].map((address) => ({ address, port, backends })));
  client = network.peer('client');
});

afterAll(() => {
  dataplane?.destroy();
  network?.down();
});

/** A connection whose packets the access point keeps from now on. */
async function connectHeld(name: string, family: 4 | 6, echoed = 0): Promise<Flow> {
  const host = family === 4 ? vip4 : vip6;
  const answer = (await client.ask({ action: 'connect', name, host, port })) as { port: number };
  const address = network.address('client', family);
  const flow = { client: { address, port: answer.port }, vip: { address: host, port } };
  if (echoed > 0) {
    await client.ask({ action: 'send', name, text: 'x'.repeat(echoed) });
    await client.ask({ action: 'receive', name, bytes: echoed });
  }
  const deadlineNs = process.hrtime.bigint() + 20_000_000_000n;
  expect(dataplane.apply([{ op: 'hold', flow, epoch: 0, deadlineNs }])).toEqual(['ok']);
  return flow;
}

const endOf = (name: string): Promise<unknown> => client.ask({ action: 'ended', name, withinMs: 2000 });

describe.each([4, 6] as const)('IPv%i', (family) => {
  it('a client that only reads is reset, with a number only it knew', async () => {
    const name = `reader${family}`;
    const flow = await connectHeld(name, family, 70_000);
    expect(await client.ask({ action: 'ended', name })).toBeNull();
    expect(await dataplane.resetClient(flow, 4000)).toBe('reset');
    expect(await endOf(name)).toBe('ECONNRESET');
  });

  it('a client that has been sending is reset', async () => {
    const name = `sender${family}`;
    const flow = await connectHeld(name, family);
    await client.ask({ action: 'send', name, text: 'nobody will answer this' });
    expect(await dataplane.resetClient(flow, 4000)).toBe('reset');
    expect(await endOf(name)).toBe('ECONNRESET');
  });

  it('a client that has let go by itself is told apart', async () => {
    const name = `gone${family}`;
    const flow = await connectHeld(name, family);
    await client.ask({ action: 'close', name, reset: true });
    expect(await dataplane.resetClient(flow, 4000)).toBe('gone');
  });
});

it('others on the same client are not harmed', async () => {
  await client.ask({ action: 'connect', name: 'bystander', host: vip4, port });
  const flow = await connectHeld('victim', 4);
  expect(await dataplane.resetClient(flow, 4000)).toBe('reset');
  await client.ask({ action: 'send', name: 'bystander', text: 'alive' });
  expect(await client.ask({ action: 'receive', name: 'bystander', bytes: 5 })).toBe('alive');
});

it('many at once', async () => {
  const names = Array.from({ length: 40 }, (_, i) => `crowd${i}`);
  const flows = await Promise.all(names.map((name) => connectHeld(name, 4, 100)));
  const outcomes = await Promise.all(flows.map((flow) => dataplane.resetClient(flow, 4000)));
  expect(new Set(outcomes)).toEqual(new Set(['reset']));
  expect(new Set(await Promise.all(names.map(endOf)))).toEqual(new Set(['ECONNRESET']));
});

it('a client that cannot be reached is given up at the deadline', async () => {
  const flow = await connectHeld('cut', 4);
  network.ip('client', 'link', 'set', 'eth0', 'down');
  expect(await dataplane.resetClient(flow, 700)).toBe('unanswered');
});
