import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Flow } from '@restitch/core';
import { openDataplane } from '@restitch/dataplane';
import type { Dataplane, DataplaneOptions } from '@restitch/dataplane';
import { enterNetworkNamespace } from '@restitch/sys/internal';
import { upTestNetwork, vip4, vip6 } from './network.js';
import type { Peer, TestNetwork } from './network.js';

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
    pinDirectory: `/sys/fs/bpf/${network.prefix}`,
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
  dataplane.setRebuilding(false);
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

const inMs = (ms: number): bigint => process.hrtime.bigint() + BigInt(ms) * 1_000_000n;

describe.each([4, 6] as const)('steering IPv%i', (family) => {
  it('sends a new flow to a serving endpoint and records it', async () => {
    serve('a');
    const { greeting, flow } = await connect(`first${family}`, family);
    expect(greeting).toBe('a');
    expect(dataplane.lookup(flow)).toMatchObject({ endpointId: 1, epoch: 0, phase: 'active' });
    serve('b');
    await client.ask({ action: 'send', name: `first${family}`, text: 'still here' });
    expect(await client.ask({ action: 'receive', name: `first${family}`, bytes: 10 })).toBe('still here');
    expect((await connect(`second${family}`, family)).greeting).toBe('b');
  });

  it('keeps packets of a held flow and delivers them in order', async () => {
    serve('a');
    const name = `held${family}`;
    const { flow } = await connect(name, family);
    expect(dataplane.apply([{ op: 'hold', flow, epoch: 0, deadlineNs: inMs(3000) }])).toEqual(['ok']);
    const parts = Array.from({ length: 50 }, (_, i) => `part ${String(i).padStart(3, '0')}\n`);
    for (const text of parts) await client.ask({ action: 'send', name, text });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(dataplane.stats().heldBytes).toBeGreaterThan(0);
    await expect(client.ask({ action: 'receive', name, bytes: 1, timeoutMs: 50 })).rejects.toThrow(
      'received 0',
    );
    expect(dataplane.apply([{ op: 'release', flow, epoch: 0 }])).toEqual(['ok']);
    expect(await client.ask({ action: 'receive', name, bytes: parts.join('').length })).toBe(parts.join(''));
    expect(dataplane.lookup(flow)).toMatchObject({ phase: 'active', epoch: 0 });
    expect(dataplane.stats().heldBytes).toBe(0);
  });
});
