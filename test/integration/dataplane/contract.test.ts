/** The contract of the data plane, on the one that tests stand on and on the one that runs. */
import { afterAll, beforeAll, describe } from 'vitest';
import { systemClock } from '@restitch/core';
import type { Flow } from '@restitch/core';
import { openDataplane } from '@restitch/dataplane';
import type { Dataplane } from '@restitch/dataplane';
import { enterNetworkNamespace, openPinned, testRun } from '@restitch/sys/internal';
import { FakeDataplane } from '../../../packages/access-point/src/testing/fake-dataplane.js';
import { buildTcpFrame, tcpFlags } from '../../../packages/dataplane/src/frames.js';
import { pinnedPath } from '../../../packages/dataplane/src/pins.js';
import { useBpfDirectory } from '../../bpf-directory.js';
import { dataplaneContract } from './dataplane-contract.js';
import type { DataplaneStage, PacketFate } from './dataplane-contract.js';
import { upTestNetwork } from './network.js';
import type { TestNetwork } from './network.js';

const maxFlows = 1000;
const pinDirectory = `${useBpfDirectory()}/pins`;

describe('in memory', () => {
  dataplaneContract(() => {
    const fake = new FakeDataplane(systemClock);
    fake.maxFlows = maxFlows;
    return {
      dataplane: fake,
      maxFlows,
      packet: (flow, isReset) => fake.packet(flow, isReset),
      syn: (flow) => fake.syn(flow),
    };
  });
});

describe('in the kernel', () => {
  let network: TestNetwork;
  let dataplane: Dataplane;

  beforeAll(() => {
    network = upTestNetwork('contract');
    enterNetworkNamespace(network.namespace('ap'));
    dataplane = openDataplane({
      interfaceName: 'eth0',
      pinDirectory,
      holdDevice: 'rs-hold0',
      maxFlows,
      maxHalfOpen: 1000,
      holdBounds: { flowBytes: 1 << 20, totalBytes: 16 << 20 },
    });
    dataplane.setTarget({ endpointId: 1, dataAddress: network.address('a') });
    dataplane.setTarget({ endpointId: 2, dataAddress: network.address('b') });
  });
  afterAll(() => {
    dataplane?.destroy();
    network?.down();
  });

  dataplaneContract(() => setUpReal(dataplane, network));
});

/** Packets are played into the program and go nowhere: one that is kept is counted and never reaches the hold device. */
function setUpReal(dataplane: Dataplane, network: TestNetwork): DataplaneStage {
  const program = openPinned(pinnedPath(pinDirectory, 'steer'));
  const macs = new Map(([1, 2] as const).map((id) => [macOf(network, id === 1 ? 'a' : 'b'), id]));
  const play = ({ client, vip }: Flow, flags: number): PacketFate => {
    const built = buildTcpFrame({ source: client, destination: vip, flags });
    const data = Buffer.alloc(built.length);
    built.copy(data);
    const out = Buffer.alloc(data.length + 64);
    const { retval } = testRun(program.value, { data, out });
    if (retval === 2) return 'dropped';
    if (retval === -1) return 'to the host';
    return macs.get(out.subarray(0, 6).toString('hex')) ?? 'kept';
  };
  return {
    dataplane,
    maxFlows,
    packet: (flow, isReset = false) => play(flow, isReset ? tcpFlags.rst : tcpFlags.ack),
    syn(flow) {
      const fate = play(flow, tcpFlags.syn);
      return typeof fate === 'number' ? fate : undefined;
    },
  };
}

function macOf(network: TestNetwork, party: 'a' | 'b'): string {
  const [link] = JSON.parse(network.ip(party, '-j', 'link', 'show', 'eth0')) as { address: string }[];
  return (link?.address ?? '').replaceAll(':', '');
}
