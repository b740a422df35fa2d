/** Half-open entries of a dead endpoint: the contract on both data planes, and real packets of real clients. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '@restitch/core';
import type { Flow } from '@restitch/core';
import { openDataplane } from '@restitch/dataplane';
import type { Dataplane } from '@restitch/dataplane';
import { enterNetworkNamespace, openPinned, testRun } from '@restitch/sys/internal';
import { FakeDataplane } from '../../../packages/access-point/src/testing/fake-dataplane.js';
import { buildTcpFrame, tcpFlags } from '../../../packages/dataplane/src/frames.js';
import { pinnedPath } from '../../../packages/dataplane/src/pins.js';
import { useBpfDirectory } from '../../bpf-directory.js';
import { halfOpenContract } from './half-open-contract.js';
import { upTestNetwork, vip4, vip6 } from './network.js';
import type { Peer, TestNetwork } from './network.js';

const port = 7000;
const pinDirectory = `${useBpfDirectory()}/pins`;
const ids = { a: 1, b: 2 } as const;
let network: TestNetwork;
let dataplane: Dataplane;
let client: Peer;

beforeAll(async () => {
  network = upTestNetwork('half');
  enterNetworkNamespace(network.namespace('ap'));
  dataplane = openDataplane({
    interfaceName: 'eth0',
    pinDirectory,
    holdDevice: 'rs-hold0',
    maxFlows: 1000,
    maxHalfOpen: 4000,
    holdBounds: { flowBytes: 1 << 20, totalBytes: 16 << 20 },
  });
  dataplane.setRebuilding(false);
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

describe('in memory', () => halfOpenContract(setUpFake));
describe('in the kernel', () => halfOpenContract(setUpReal));

function setUpFake(): { dataplane: FakeDataplane; syn: (flow: Flow) => number | undefined } {
  const fake = new FakeDataplane(systemClock);
  fake.setRebuilding(false);
  return { dataplane: fake, syn: (flow) => fake.syn(flow) };
}

/** SYNs are played into the program; whom one was sent to says the MAC it leaves for. */
function setUpReal(): { dataplane: Dataplane; syn: (flow: Flow) => number | undefined } {
  const program = openPinned(pinnedPath(pinDirectory, 'steer'));
  const macs = new Map(([1, 2] as const).map((id) => [macOf(id === 1 ? 'a' : 'b'), id]));
  const syn = ({ client: source, vip: destination }: Flow): number | undefined => {
    const built = buildTcpFrame({ source, destination, flags: tcpFlags.syn });
    const data = Buffer.alloc(built.length);
    built.copy(data);
    const out = Buffer.alloc(data.length + 64);
    testRun(program.value, { data, out });
    return macs.get(out.subarray(0, 6).toString('hex'));
  };
  return { dataplane, syn };
}

function macOf(party: 'a' | 'b'): string {
  const [link] = JSON.parse(network.ip(party, '-j', 'link', 'show', 'eth0')) as { address: string }[];
  return (link?.address ?? '').replaceAll(':', '');
}

function serve(...parties: ('a' | 'b')[]): void {
  const backends = parties.map((party) => ({ endpointId: ids[party], weight: 1 }));
  dataplane.setServices([vip4, vip6].map((address) => ({ address, port, backends })));
}

const inNamespace = (party: 'client' | 'a', ...command: string[]): string =>
  execFileSync('nsenter', [`--net=${network.namespace(party)}`, ...command], { encoding: 'utf8' });
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.each([4, 6] as const)('a client over IPv%i', (family) => {
  const host = family === 4 ? vip4 : vip6;

  it('that was connecting to a host when it died is served by another at its next SYN', async () => {
    serve('a');
    network.ip('a', 'link', 'set', 'eth0', 'down');
    const connecting = client.ask({ action: 'connect', name: `syn${family}`, host, port, timeoutMs: 10_000 });
    await sleep(200);
    serve('b');
    expect(dataplane.forgetHalfOpen(ids.a)).toBe(1);
    const beganMs = Date.now();
    expect(await connecting).toMatchObject({ greeting: 'b' });
    // The client repeats its SYN after 1 s; without the sweep it would go to the dead host for as long as it tries.
    expect(Date.now() - beganMs).toBeLessThan(3500);
    network.ip('a', 'link', 'set', 'eth0', 'up');
    // A link that was down has lost its IPv6 addresses.
    network.ip('a', 'addr', 'replace', `${network.address('a', 6)}/64`, 'dev', 'eth0', 'nodad');
    await sleep(200);
  }, 30_000);

  it('whose handshake the host could not finish is reset by whoever lives', async () => {
    serve('a');
    // The client's acknowledgements stay at home: for it the connection stands, for the host it is half open.
    const table = `half${family}`;
    inNamespace('client', 'nft', 'add', 'table', 'inet', table);
    inNamespace('client', 'nft', `add chain inet ${table} out { type filter hook output priority 0; }`);
    inNamespace('client', 'nft', `add rule inet ${table} out tcp dport ${port} tcp flags & syn == 0 drop`);
    const opened = client.ask({ action: 'connect-only', name: `ack${family}`, host, port });
    expect(await opened).toMatchObject({ port: expect.any(Number) });
    const { port: local } = (await opened) as { port: number };
    const flow = {
      client: { address: network.address('client', family), port: local },
      vip: { address: host, port },
    };
    expect(dataplane.lookup(flow)).toBeUndefined();
    network.ip('a', 'link', 'set', 'eth0', 'down');
    serve('b');
    expect(dataplane.forgetHalfOpen(ids.a)).toBe(1);
    const fallbacks = dataplane.stats().verdicts['fallback'] ?? 0n;
    inNamespace('client', 'nft', 'delete', 'table', 'inet', table);
    await client.ask({ action: 'send', name: `ack${family}`, text: 'anybody there?' });
    expect(await endOf(`ack${family}`)).toBe('ECONNRESET');
    expect(dataplane.stats().verdicts['fallback'] ?? 0n).toBeGreaterThan(fallbacks);
    // Nobody made a record of what nobody serves.
    expect(dataplane.lookup(flow)).toBeUndefined();
    network.ip('a', 'link', 'set', 'eth0', 'up');
    network.ip('a', 'addr', 'replace', `${network.address('a', 6)}/64`, 'dev', 'eth0', 'nodad');
    await sleep(200);
  }, 30_000);
});

const endOf = (name: string): Promise<unknown> => client.ask({ action: 'ended', name, withinMs: 2000 });
