/** Frames as they come off a wire: VLAN tags and fragments, which no socket here can send. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDataplane } from '@restitch/dataplane';
import type { Dataplane } from '@restitch/dataplane';
import { openWireTap } from '@restitch/sys';
import { enterNetworkNamespace } from '@restitch/sys/internal';
import type { WireTap } from '@restitch/sys';
import { buildTcpFrame, tcpFlags } from '../../../packages/dataplane/src/frames.js';
import type { TcpFrame } from '../../../packages/dataplane/src/frames.js';
import { upTestNetwork, vip4, vip6 } from './network.js';
import type { TestNetwork } from './network.js';
import { useBpfDirectory } from '../../bpf-directory.js';

const bpf = useBpfDirectory();
const port = 7000;
const endpointMac = Buffer.from('0200000000e1', 'hex');
const clientMac = Buffer.from('0200000000c1', 'hex');
const dataAddress = '10.77.0.77';
/** The access point verifies its neighbour, who never answers here. */
const arp = 0x0806;

let network: TestNetwork;
let dataplane: Dataplane;
let client: WireTap;
let endpoint: WireTap;
let ownMac: Buffer;

beforeAll(() => {
  network = upTestNetwork('raw');
  const home = `/run/netns/${network.prefix}-sw`;
  enterNetworkNamespace(home);
  client = openWireTap('t-client');
  endpoint = openWireTap('t-endpoint');
  for (const name of ['t-client', 't-endpoint']) network.ip('sw', 'link', 'set', name, 'master', 'br0', 'up');
  enterNetworkNamespace(network.namespace('ap'));
  network.ip('ap', 'neigh', 'add', dataAddress, 'lladdr', colons(endpointMac), 'dev', 'eth0');
  ownMac = Buffer.from(
    /ether ([0-9a-f:]+)/.exec(network.ip('ap', 'link', 'show', 'eth0'))?.[1]?.replaceAll(':', '') ?? '',
    'hex',
  );
  dataplane = openDataplane({
    interfaceName: 'eth0',
    pinDirectory: `${bpf}/pins`,
    holdDevice: 'rs-hold0',
    maxFlows: 100,
    maxHalfOpen: 100,
    holdBounds: { flowBytes: 3000, totalBytes: 1 << 20 },
  });
  dataplane.setRebuilding(false);
  dataplane.setTarget({ endpointId: 1, dataAddress });
  const backends = [{ endpointId: 1, weight: 1 }];
  dataplane.setServices([vip4, vip6].map((address) => ({ address, port, backends })));
});

afterAll(() => {
  client?.close();
  endpoint?.close();
  dataplane?.destroy();
  network?.down();
});

const colons = (mac: Buffer): string => mac.toString('hex').replace(/(..)(?=.)/g, '$1:');

/** From the client to the access point's MAC. */
function send(frame: Buffer): void {
  ownMac.copy(frame, 0);
  clientMac.copy(frame, 6);
  expect(client.write(frame)).toBe(true);
}

/** The next frames for the endpoint's MAC, without their MACs. */
async function receive(count: number, waitMs = 3000): Promise<string[]> {
  const memory = Buffer.alloc(65536);
  const frames: string[] = [];
  for (const end = performance.now() + waitMs; frames.length < count && performance.now() < end; ) {
    const bytes = endpoint.read(memory);
    if (bytes === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    else if (memory.subarray(0, 6).equals(endpointMac) && memory.readUInt16BE(12) !== arp) {
      expect(memory.subarray(6, 12)).toEqual(ownMac);
      frames.push(memory.toString('hex', 12, bytes));
    }
  }
  return frames;
}

const withoutMacs = (frame: Buffer): string => frame.toString('hex', 12);

describe.each([4, 6] as const)('IPv%i', (family) => {
  const vip = family === 4 ? vip4 : vip6;
  let nextPort = 1000 * family;
  const segment = (more: Partial<TcpFrame> = {}): TcpFrame => ({
    source: { address: family === 4 ? '10.77.0.90' : 'fd77::90', port: nextPort },
    destination: { address: vip, port },
    flags: tcpFlags.ack,
    ...more,
  });
  const establish = async (vlan?: number): Promise<void> => {
    nextPort += 1;
    const tag = vlan === undefined ? {} : { vlan };
    for (const flags of [tcpFlags.syn, tcpFlags.ack]) send(buildTcpFrame(segment({ flags, ...tag })));
    expect(await receive(2)).toHaveLength(2);
  };

  it('a VLAN tag stays on the frame, also through the hold', async () => {
    await establish(42);
    const flow = { client: segment().source, vip: segment().destination };
    const deadlineNs = process.hrtime.bigint() + 5_000_000_000n;
    expect(dataplane.apply([{ op: 'hold', flow, epoch: 0, deadlineNs }])).toEqual(['ok']);
    const frames = ['one', 'two', 'three'].map((payload) => buildTcpFrame(segment({ payload, vlan: 42 })));
    for (const frame of frames) send(frame);
    expect(await receive(1, 100)).toEqual([]);
    expect(dataplane.apply([{ op: 'release', flow, epoch: 0 }])).toEqual(['ok']);
    expect(await receive(3)).toEqual(frames.map(withoutMacs));
  });

  it('fragments follow their first', async () => {
    await establish();
    const parts = [
      segment({ payload: 'x'.repeat(44), fragment: { id: 7 + family, offset: 0, more: true } }),
      segment({ payload: 'y'.repeat(64), fragment: { id: 7 + family, offset: 8, more: true } }),
      segment({ payload: 'z', fragment: { id: 7 + family, offset: 16, more: false } }),
    ].map(buildTcpFrame);
    for (const part of parts) send(part);
    expect(await receive(3)).toEqual(parts.map(withoutMacs));
  });

  it('a hold takes as many bytes as it may, delivers them, and counts the rest', async () => {
    await establish();
    const flow = { client: segment().source, vip: segment().destination };
    const deadlineNs = process.hrtime.bigint() + 5_000_000_000n;
    const before = dataplane.stats().heldDropped;
    expect(dataplane.apply([{ op: 'hold', flow, epoch: 0, deadlineNs }])).toEqual(['ok']);
    const frames = Array.from({ length: 5 }, (_, i) =>
      buildTcpFrame(segment({ payload: `${i}`.repeat(900) })),
    );
    for (const frame of frames) send(frame);
    for (let i = 0; i < 100 && dataplane.stats().heldDropped - before < 2; i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(dataplane.stats().heldDropped - before).toBe(2);
    dataplane.apply([{ op: 'release', flow, epoch: 0 }]);
    expect(await receive(3)).toEqual(frames.slice(0, 3).map(withoutMacs));
    expect(dataplane.stats().heldBytes).toBe(0);
  });
});

it("leaves the operator's permanent neighbour entry alone", async () => {
  await new Promise((resolve) => setTimeout(resolve, 1300));
  expect(network.ip('ap', 'neigh', 'show', dataAddress)).toContain('PERMANENT');
});
