/** The data plane in the path of real TCP connections, in this process. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Flow } from '@restitch/core';
import { openDataplane } from '@restitch/dataplane';
import { playSynFlood } from '../../../packages/lab/src/load/syn-flood.js';
import type { Dataplane, DataplaneOptions, FlowChange } from '@restitch/dataplane';
import { enterNetworkNamespace } from '@restitch/sys/internal';
import { upTestNetwork, vip4, vip6 } from './network.js';
import type { Peer, TestNetwork } from './network.js';
import { useBpfDirectory } from '../../bpf-directory.js';

const bpf = useBpfDirectory();
const port = 7000;
const ids = { a: 1, b: 2 } as const;

let network: TestNetwork;
let dataplane: Dataplane;
let options: DataplaneOptions;
let client: Peer;

beforeAll(async () => {
  network = upTestNetwork('steer');
  enterNetworkNamespace(network.namespace('ap'));
  options = {
    interfaceName: 'eth0',
    pinDirectory: `${bpf}/pins`,
    holdDevice: 'rs-hold0',
    maxFlows: 1000,
    maxHalfOpen: 1000,
    holdBounds: { flowBytes: 1 << 20, totalBytes: 16 << 20 },
  };
  dataplane = openDataplane(options);
  for (const party of ['a', 'b'] as const) {
    await network.peer(party).ask({ action: 'serve', port, greeting: party });
    dataplane.setTarget({ endpointId: ids[party], dataAddress: network.address(party) });
  }
  client = network.peer('client');
});

afterAll(() => {
  dataplane?.destroy();
  network?.down();
});

function serve(...parties: ('a' | 'b')[]): void {
  const backends = parties.map((party) => ({ endpointId: ids[party], weight: 1 }));
  dataplane.setServices([vip4, vip6].map((address) => ({ address, port, backends })));
}

async function connect(name: string, family: 4 | 6 = 4): Promise<{ greeting: string; flow: Flow }> {
  const host = family === 4 ? vip4 : vip6;
  const { greeting, port: local } = (await client.ask({ action: 'connect', name, host, port })) as {
    greeting: string;
    port: number;
  };
  return {
    greeting,
    flow: {
      client: { address: network.address('client', family), port: local },
      vip: { address: host, port },
    },
  };
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const inMs = (ms: number): bigint => process.hrtime.bigint() + BigInt(ms) * 1_000_000n;
const hold = (flow: Flow, ms = 5000): FlowChange => ({ op: 'hold', flow, epoch: 0, deadlineNs: inMs(ms) });

async function sendParts(name: string, count: number): Promise<string> {
  const parts = Array.from({ length: count }, (_, i) => `part ${String(i).padStart(4, '0')}\n`);
  for (const text of parts) await client.ask({ action: 'send', name, text });
  return parts.join('');
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !isTrue(); i++) await sleep(10);
  expect(isTrue()).toBe(true);
}

it('is new, and drops unknown flows until the rebuilding is over', async () => {
  expect(dataplane.isAdopted).toBe(false);
  serve('a');
  await expect(
    client.ask({ action: 'connect', name: 'early', host: vip4, port, timeoutMs: 300 }),
  ).rejects.toThrow('timed out');
  expect(dataplane.stats().verdicts['drop_rebuilding']).toBeGreaterThan(0n);
  dataplane.setRebuilding(false);
});

describe.each([4, 6] as const)('steering IPv%i', (family) => {
  it('sends a new flow to a serving endpoint, records it, and keeps it there', async () => {
    serve('a');
    const { greeting, flow } = await connect(`first${family}`, family);
    expect(greeting).toBe('a');
    expect(dataplane.lookup(flow)).toMatchObject({ endpointId: 1, epoch: 0, phase: 'active' });
    serve('b');
    await client.ask({ action: 'send', name: `first${family}`, text: 'still here' });
    expect(await client.ask({ action: 'receive', name: `first${family}`, bytes: 10 })).toBe('still here');
    expect((await connect(`second${family}`, family)).greeting).toBe('b');
    expect(dataplane.list(process.hrtime.bigint() - 60_000_000_000n)).toEqual([]);
    expect(dataplane.list().filter((record) => record.flow.vip.address === flow.vip.address)).toHaveLength(2);
  });

  it('keeps packets of a held flow and delivers them in order', async () => {
    serve('a');
    const name = `held${family}`;
    const { flow } = await connect(name, family);
    expect(dataplane.apply([hold(flow)])).toEqual(['ok']);
    const text = await sendParts(name, 50);
    await until(() => dataplane.stats().heldBytes > text.length);
    await expect(client.ask({ action: 'receive', name, bytes: 1, timeoutMs: 50 })).rejects.toThrow(
      'received 0',
    );
    expect(dataplane.apply([{ op: 'release', flow, epoch: 0 }])).toEqual(['ok']);
    expect(dataplane.lookup(flow)).toMatchObject({ phase: 'active', epoch: 0 });
    expect(await client.ask({ action: 'receive', name, bytes: text.length })).toBe(text);
    expect(dataplane.stats().heldBytes).toBe(0);
  });

  it('delivers what a forgotten hold kept once its deadline has passed', async () => {
    serve('a');
    const name = `late${family}`;
    const { flow } = await connect(name, family);
    dataplane.apply([hold(flow, 100)]);
    const text = await sendParts(name, 5);
    expect(await client.ask({ action: 'receive', name, bytes: text.length })).toBe(text);
    await until(() => dataplane.stats().heldBytes === 0);
  });

  it('forgets a closed flow after its linger, and the next one starts afresh', async () => {
    serve('a');
    const { flow } = await connect(`closed${family}`, family);
    expect(dataplane.apply([{ op: 'close', flow, epoch: 0, lingerMs: 50 }])).toEqual(['ok']);
    expect(dataplane.lookup(flow)?.phase).toBe('closing');
    await until(() => dataplane.lookup(flow) === undefined);
  });
});

it('delivers bulk data in one piece through hold and release, many times', async () => {
  serve('a');
  const { flow } = await connect('bulk');
  const release: FlowChange = { op: 'release', flow, epoch: 0 };
  const before = dataplane.stats().verdicts['released'] ?? 0n;
  const transfer = client.ask({ action: 'bulk', name: 'bulk', bytes: 50_000_000 });
  let isOver = false;
  void transfer.finally(() => (isOver = true));
  let holds = 0;
  while (!isOver) {
    expect(dataplane.apply([hold(flow)])).toEqual(['ok']);
    holds += 1;
    await sleep(2);
    expect(dataplane.apply([release])).toEqual(['ok']);
    await sleep(3);
  }
  expect(await transfer).toBe('identical');
  expect(holds).toBeGreaterThan(1);
  expect((dataplane.stats().verdicts['released'] ?? 0n) - before).toBeGreaterThan(0n);
});

it('a flood of SYNs evicts no established flow and blocks no new one', async () => {
  serve('a', 'b');
  const { flow } = await connect('flooded');
  const before = dataplane.stats();
  const flood = playSynFlood({
    pinDirectory: options.pinDirectory,
    service: { address: vip4, port },
    count: 20 * options.maxHalfOpen,
  });
  const during = await connect('during-flood');
  const { played, retvals } = await flood;
  expect(retvals).toEqual({ 7: played });
  expect(dataplane.lookup(flow)).toBeDefined();
  expect(dataplane.stats().flows - before.flows).toBeLessThanOrEqual(1);
  await client.ask({ action: 'rounds', name: 'flooded', ms: 20 });
  await client.ask({ action: 'rounds', name: 'during-flood', ms: 20 });
  expect((await connect('after-flood')).greeting).toMatch(/a|b/);
  expect(during.greeting).toMatch(/a|b/);
});

it('gives every frame exactly one verdict while the program is replaced under traffic', async () => {
  serve('a', 'b');
  await connect('swap');
  const received = (): bigint => {
    const [link] = JSON.parse(network.ip('ap', '-s', '-j', 'link', 'show', 'eth0')) as {
      stats64: { rx: { packets: number } };
    }[];
    return BigInt(link?.stats64.rx.packets ?? 0);
  };
  const judged = (): bigint => Object.values(dataplane.stats().verdicts).reduce((sum, n) => sum + n, 0n);
  await sleep(100);
  const unjudged = received() - judged();
  const traffic = client.ask({ action: 'rounds', name: 'swap', ms: 1500 });
  for (let i = 0; i < 10; i++) {
    await sleep(100);
    dataplane.close();
    dataplane = openDataplane(options);
    expect(dataplane.isAdopted).toBe(true);
  }
  expect(((await traffic) as { count: number }).count).toBeGreaterThan(0);
  await until(() => received() - judged() === unjudged);
});

it('follows an endpoint whose network interface is replaced, without help from the flow', async () => {
  for (const party of ['a', 'b'] as const)
    dataplane.setTarget({ endpointId: ids[party], dataAddress: network.address(party) });
  serve('b');
  expect((await connect('mac')).greeting).toBe('b');
  // Gratuitous announcements off (the default): only asking can find out.
  network.ip('b', 'link', 'set', 'eth0', 'down');
  network.ip('b', 'link', 'set', 'eth0', 'address', '02:00:00:be:ef:01');
  network.ip('b', 'link', 'set', 'eth0', 'up');
  await client.ask({ action: 'send', name: 'mac', text: 'found you' });
  expect(await client.ask({ action: 'receive', name: 'mac', bytes: 9, timeoutMs: 20_000 })).toBe('found you');
});
