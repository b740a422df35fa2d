import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openNeighbourTable, parseNeighbours } from './netlink-neighbours.js';
import type { Neighbour, NeighbourTable } from './netlink-neighbours.js';
import { interfaceIndex, interfaceMac } from './network-interface.js';
import { enterNetworkNamespace } from './network-namespace.js';

describe('neighbour messages', () => {
  // RTM_NEWNEIGH as Linux 6.18 sends it: 10.5.0.2 on interface 7, reachable, 02:00:00:00:00:05.
  const golden = Buffer.from(
    '30000000' +
      '1c00' +
      '0200' +
      '00000000' +
      '00000000' + // nlmsghdr
      '02000000' +
      '07000000' +
      '0200' +
      '00' +
      '01' + // ndmsg
      '08000100' +
      '0a050002' + // NDA_DST
      '0a000200' +
      '020000000005' +
      '0000', // NDA_LLADDR, padded
    'hex',
  );

  it('are read with address, MAC, interface and state', () => {
    expect(parseNeighbours(golden)).toEqual([
      {
        address: '10.5.0.2',
        interfaceIndex: 7,
        mac: Buffer.from('020000000005', 'hex'),
        state: 'reachable',
      },
    ]);
  });

  it('that end in the middle are refused, others are passed over', () => {
    expect(() => parseNeighbours(golden.subarray(0, 40))).toThrow('netlink message of 48 bytes');
    const done = Buffer.from('10000000' + '0300' + '0200' + '00000000' + '00000000', 'hex');
    expect(parseNeighbours(Buffer.concat([done, golden]))).toHaveLength(1);
  });
});

describe('neighbour table', () => {
  const names = ['near', 'far'].map((name) => `rs${process.pid}-${name}`);
  let table: NeighbourTable;

  beforeAll(() => {
    const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });
    for (const name of names) {
      ip('netns', 'add', name);
      // The kernel asks from its link-local address, which a duplicate check would keep back for seconds.
      const enter = `--net=/run/netns/${name}`;
      execFileSync('nsenter', [enter, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0']);
    }
    const [near = '', far = ''] = names;
    ip('-n', near, 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1', 'netns', far);
    ip('-n', near, 'addr', 'add', '10.5.0.1/24', 'dev', 'v0');
    ip('-n', near, 'addr', 'add', 'fd05::1/64', 'dev', 'v0', 'nodad');
    ip('-n', far, 'addr', 'add', '10.5.0.2/24', 'dev', 'v1');
    ip('-n', far, 'addr', 'add', 'fd05::2/64', 'dev', 'v1', 'nodad');
    ip('-n', far, 'link', 'set', 'v1', 'address', '02:00:00:00:00:05', 'up');
    ip('-n', near, 'link', 'set', 'v0', 'address', '02:00:00:00:00:01', 'up');
    enterNetworkNamespace(`/run/netns/${near}`);
    table = openNeighbourTable(interfaceIndex('v0'));
  });

  afterAll(() => {
    table?.close();
    for (const name of names) execFileSync('ip', ['netns', 'del', name]);
  });

  function awaitChange(isWanted: (n: Neighbour) => boolean): Neighbour | undefined {
    for (let i = 0; i < 100; i++) {
      const found = table.read().find(isWanted);
      if (found !== undefined) return found;
      table.wait(100);
    }
    return undefined;
  }

  it.each(['10.5.0.2', 'fd05::2'])('learns %s by asking, verifies and forgets it', (address) => {
    table.resolve(address);
    const isReachable = (n: Neighbour): boolean => n.address === address && n.state === 'reachable';
    const found = awaitChange(isReachable);
    expect(found?.mac?.toString('hex')).toBe('020000000005');
    table.verify(address, found?.mac ?? Buffer.alloc(6));
    expect(awaitChange((n) => n.address === address && n.state === 'probe')).toBeDefined();
    expect(awaitChange(isReachable)).toBeDefined();
    table.forget(address);
    expect(awaitChange((n) => n.address === address && n.state === 'gone')).toBeDefined();
  });

  it('knows the interface of this namespace', () => {
    expect(interfaceMac('v0').toString('hex')).toBe('020000000001');
    expect(() => interfaceIndex('v1')).toThrow('no network interface "v1"');
  });
});
