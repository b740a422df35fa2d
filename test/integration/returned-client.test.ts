/** Whether the client of a session that was taken over still is the one it was. */
import { systemClock } from '@restitch/core';
import { closeFd, errno } from '@restitch/sys';
import {
  bindSocket,
  connectSocket,
  familyOf,
  getIntOption,
  getTcpInfo,
  listenSocket,
  openTcpSocket,
  sendBytes,
  setIntOption,
  so,
  solSocket,
  solTcp,
  tcp,
  tcpState,
} from '@restitch/sys/internal';
import { ensureGuardPins, type GuardPins, removeGuardPins } from '@restitch/guard/internal';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  activateSocket,
  discardFrozenSocket,
  freezeSocket,
  readTemplate,
  thawSocket,
} from '../../packages/endpoint/src/tcp/index.js';
import { type TcpTemplate } from '@restitch/wire/internal';
import { identifyClient, locateOther } from '../../packages/endpoint/src/protect/returned-client.js';
import { resetClient } from '../../packages/endpoint/src/protect/client-witness.js';
import { openPair, type SocketPair, waitFor } from './socket-pair.js';
import { type TwoEndpoints, createTwoEndpoints } from './two-endpoints.js';
import { useBpfDirectory } from '../bpf-directory.js';

const clock = systemClock;
const directory = `${useBpfDirectory()}/pins`;
let net: TwoEndpoints;
let pins: GuardPins;
beforeAll(() => {
  net = createTwoEndpoints();
  pins = ensureGuardPins({ pinDirectory: directory });
});
afterAll(() => {
  pins?.close();
  removeGuardPins(directory);
  net?.close();
});

/** What a buddy restores of a session whose owner died a moment ago. */
function takenOver(pair: SocketPair): { readonly template: TcpTemplate; readonly restore: () => number } {
  const { address } = pair.flow.vip;
  const template = readTemplate(
    pair.server,
    familyOf(address),
    { inputRead: 0, outputWritten: 0 },
    Date.now(),
  );
  const frozen = net.inside('a', () => freezeSocket(pair.server));
  discardFrozenSocket(pair.server);
  return {
    template,
    restore: () => {
      const { fd } = net.inside('b', () => activateSocket(thawSocket(frozen.tcp, pair.flow)));
      net.steer('b');
      return fd;
    },
  };
}

describe.each(['4', '6'] as const)('over IPv%s', (version) => {
  it('a client that waits is the same', async () => {
    const pair = await openPair(net, version);
    const fd = takenOver(pair).restore();
    expect(await identifyClient(fd, clock)).toBe('same');
    closeFd(fd);
    closeFd(pair.client);
  });

  it('a client that repeats what was acknowledged is the same', async () => {
    const pair = await openPair(net, version);
    const session = takenOver(pair);
    // Nobody acknowledges these to the client, and its next owner has them already.
    net.steer('nowhere');
    sendBytes(pair.client, Buffer.from('said before the death'));
    const fd = session.restore();
    expect(await identifyClient(fd, clock)).toBe('same');
    closeFd(fd);
    closeFd(pair.client);
  });

  it('a client that nothing comes from is not given up', async () => {
    const pair = await openPair(net, version);
    const session = takenOver(pair);
    const fd = session.restore();
    net.run('client', 'nft add table inet mute');
    net.run('client', "nft add chain inet mute out '{ type filter hook output priority 0; policy drop; }'");
    try {
      expect(await identifyClient(fd, clock)).toBe('silent');
    } finally {
      net.run('client', 'nft delete table inet mute');
    }
    closeFd(fd);
    closeFd(pair.client);
  });

  it.each(['waits', 'sends'])(
    'a client that came back from its port and %s is another, and is reset',
    async (does) => {
      const pair = await openPair(net, version);
      const session = takenOver(pair);
      // Its power went, and the dead owner's kernel shook hands anew.
      setIntOption(pair.client, solTcp, tcp.repair, 1);
      closeFd(pair.client);
      const family = familyOf(pair.flow.vip.address);
      const listener = net.inside('a', () => {
        const fd = openTcpSocket(family);
        setIntOption(fd, solSocket, so.reuseaddr, 1);
        bindSocket(fd, family, pair.flow.vip);
        listenSocket(fd, 16);
        return fd;
      });
      const returned = net.inside('client', () => openTcpSocket(family));
      setIntOption(returned, solSocket, so.reuseaddr, 1);
      bindSocket(returned, family, pair.flow.client);
      connectSocket(returned, family, pair.flow.vip);
      await waitFor(() => getTcpInfo(returned).state === tcpState.established);
      const fd = session.restore();
      if (does === 'sends') sendBytes(returned, Buffer.from('hello'));
      const beganMs = performance.now();
      expect(await identifyClient(fd, clock)).toBe('other');
      const stand = await locateOther(fd, pins, clock);
      expect(stand).toBeDefined();
      if (stand !== undefined)
        net.inside('b', () =>
          resetClient({ flow: pair.flow, template: session.template, ...stand }, Date.now()),
        );
      await waitFor(() => getTcpInfo(returned).state === tcpState.close);
      expect(performance.now() - beganMs).toBeLessThan(4000);
      expect(getIntOption(returned, solSocket, so.error)).toBe(errno.ECONNRESET);
      closeFd(listener);
      closeFd(returned);
    },
  );
});
