/** What cannot be moved is refused before it is touched, and a move that fails leaves no packet behind. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RestitchError } from '@restitch/core';
import type { TcpImage } from '@restitch/wire/internal';
import { closeFd } from '@restitch/sys';
import {
  afInet,
  bindSocket,
  connectSocket,
  getLocalAddress,
  getTcpInfo,
  listenSocket,
  openSocket,
  openTcpSocket,
  sendBytes,
  sendUrgentByte,
  setBufferOption,
  setIntOption,
  shutdownSend,
  so,
  solSocket,
  solTcp,
  tcp,
  tcpState,
  encodeSocketAddress,
} from '@restitch/sys/internal';
import {
  activateSocket,
  discardFrozenSocket,
  discardPendingSocket,
  freezeSocket,
  inspectSocket,
  thawSocket,
  unfreezeSocket,
} from '../../packages/endpoint/src/tcp/index.js';
import { openPair, pause, readExactly, waitFor, writeAll } from './socket-pair.js';
import { type TwoEndpoints, createTwoEndpoints } from './two-endpoints.js';

let net: TwoEndpoints;
beforeAll(() => {
  net = createTwoEndpoints();
});
afterAll(() => net?.close());

/** The error a call throws. */
function errorOf(call: () => unknown): RestitchError {
  try {
    call();
  } catch (error) {
    return error as RestitchError;
  }
  throw new Error('nothing was thrown');
}

const refusal = (fd: number): unknown => {
  const { code, details } = errorOf(() => net.inside('a', () => inspectSocket(fd)));
  expect(details.remedy).toMatch(/\w+ \w+/);
  return { code, reason: details.reason };
};
const unsupported = (reason: string): unknown => ({ code: 'socket_unsupported', reason });

describe('inspection', () => {
  it('takes an ordinary session and says how it stands', async () => {
    const pair = await openPair(net, '4');
    sendBytes(pair.client, Buffer.from('abc'));
    await waitFor(() => getTcpInfo(pair.server).segsIn > 1);
    expect(net.inside('a', () => inspectSocket(pair.server))).toMatchObject({
      state: tcpState.established,
      unreadBytes: 3,
      unacknowledgedBytes: 0,
      unsentBytes: 0,
      isOutOfOrderLikely: false,
    });
    closeFd(pair.server);
    closeFd(pair.client);
  });

  it('refuses a listener', () => {
    const fd = net.inside('a', () => openTcpSocket(afInet));
    bindSocket(fd, afInet, { address: net.vip4, port: 0 });
    listenSocket(fd, 1);
    expect(refusal(fd)).toEqual(unsupported('listen'));
    closeFd(fd);
  });

  it('refuses a handshake under way', () => {
    const fd = net.inside('a', () => openTcpSocket(afInet));
    connectSocket(fd, afInet, { address: '10.9.0.77', port: 1 });
    expect(refusal(fd)).toEqual(unsupported('syn-state'));
    closeFd(fd);
  });

  it('refuses a session that has ended', async () => {
    const pair = await openPair(net, '4');
    shutdownSend(pair.client);
    shutdownSend(pair.server);
    await waitFor(() => getTcpInfo(pair.server).state === tcpState.close);
    expect(refusal(pair.server)).toEqual(unsupported('closed'));
    closeFd(pair.server);
    closeFd(pair.client);
  });

  it('refuses unread urgent data', async () => {
    const pair = await openPair(net, '4');
    sendUrgentByte(pair.client, 0x21);
    await waitFor(() => getTcpInfo(pair.server).segsIn > 1);
    expect(refusal(pair.server)).toEqual(unsupported('urgent-data'));
    closeFd(pair.server);
    closeFd(pair.client);
  });

  it('refuses Multipath TCP', () => {
    const fd = net.inside('a', () => openSocket(afInet, 1, 262));
    expect(refusal(fd)).toEqual(unsupported('mptcp'));
    closeFd(fd);
  });

  it('refuses TCP-MD5', async () => {
    const key = (peer: string): Buffer => {
      // struct tcp_md5sig: address 128, flags and prefix 2, key length 2, ifindex 4, key 80.
      const value = Buffer.alloc(216);
      encodeSocketAddress({ address: peer, port: 0 }, afInet, value);
      value.writeUInt16LE(6, 130);
      value.write('secret', 136);
      return value;
    };
    const pair = await openPair(net, '4', {
      beforeListen: (fd) => setBufferOption(fd, solTcp, tcp.md5sig, key(net.client4)),
      beforeConnect: (fd) => setBufferOption(fd, solTcp, tcp.md5sig, key(net.vip4)),
    });
    expect(refusal(pair.server)).toEqual(unsupported('md5'));
    closeFd(pair.server);
    closeFd(pair.client);
  });

  it('sees that bytes wait behind a gap', async () => {
    const pair = await openPair(net, '4', {
      beforeConnect: (fd) => setIntOption(fd, solTcp, tcp.nodelay, 1),
    });
    // Headers are 52 bytes: the first segment is lost as often as it is sent.
    net.run(
      'a',
      'nft -f - <<X\ntable inet lose { chain in { type filter hook prerouting priority 0; meta length 1052 drop; }; }\nX',
    );
    sendBytes(pair.client, Buffer.alloc(1000, 1));
    sendBytes(pair.client, Buffer.alloc(500, 2));
    expect(net.inside('a', () => inspectSocket(pair.server))).toMatchObject({
      unreadBytes: 0,
      isOutOfOrderLikely: true,
    });
    net.run('a', 'nft delete table inet lose');
    await waitFor(() => !net.inside('a', () => inspectSocket(pair.server)).isOutOfOrderLikely);
    closeFd(pair.server);
    closeFd(pair.client);
  });
});

describe('a move that does not happen', () => {
  it.each(['4', '6'] as const)('refuses a session that ended after its inspection, over IPv%s', async (v) => {
    const pair = await openPair(net, v);
    shutdownSend(pair.client);
    shutdownSend(pair.server);
    await waitFor(() => getTcpInfo(pair.server).state === tcpState.close);
    expect(errorOf(() => freezeSocket(pair.server))).toMatchObject({
      code: 'socket_unsupported',
      details: { step: 'info', state: tcpState.close },
    });
    closeFd(pair.server);
    closeFd(pair.client);
  });

  it('leaves the session serving where it was, with what arrived meanwhile', async () => {
    const pair = await openPair(net, '4');
    await writeAll(pair.server, Buffer.from('before'));
    const frozen = freezeSocket(pair.server);
    sendBytes(pair.client, Buffer.from('meanwhile'));
    await pause(50);
    unfreezeSocket(frozen.fd);
    expect(await readExactly(pair.server, 9)).toEqual(Buffer.from('meanwhile'));
    await writeAll(pair.server, Buffer.from('after'));
    expect(await readExactly(pair.client, 11)).toEqual(Buffer.from('beforeafter'));
    closeFd(pair.server);
    closeFd(pair.client);
  });

  it('keeps a frozen socket silent for as long as it lasts', async () => {
    const pair = await openPair(net, '4');
    net.steer('nowhere');
    sendBytes(pair.server, Buffer.alloc(5000, 1));
    const frozen = freezeSocket(pair.server);
    const sent = net.sentPackets('a');
    net.steer('a');
    sendBytes(pair.client, Buffer.from('hello'));
    await pause(1200);
    expect(getTcpInfo(frozen.fd).retransmits).toBeGreaterThan(0);
    expect(net.sentPackets('a')).toBe(sent);
    discardFrozenSocket(frozen.fd);
    expect(net.sentPackets('a')).toBe(sent);
    closeFd(pair.client);
  });

  it('keeps a pending socket silent, and its disposal too', async () => {
    const pair = await openPair(net, '4');
    net.steer('nowhere');
    sendBytes(pair.server, Buffer.alloc(5000, 1));
    shutdownSend(pair.client);
    const frozen = freezeSocket(pair.server);
    const sent = net.sentPackets('b');
    const pending = net.inside('b', () => thawSocket(frozen.tcp, pair.flow));
    net.steer('b');
    await pause(1200);
    discardPendingSocket(pending);
    expect(net.sentPackets('b')).toBe(sent);
    unfreezeSocket(frozen.fd);
    net.steer('a');
    expect(await readExactly(pair.client, 5000)).toEqual(Buffer.alloc(5000, 1));
    closeFd(pair.server);
    closeFd(pair.client);
  });

  it('names the step that failed, and nothing was sent', async () => {
    const pair = await openPair(net, '4');
    sendBytes(pair.server, Buffer.from('answer'));
    const frozen = freezeSocket(pair.server);
    const sent = net.sentPackets('b');
    const window = Buffer.from(frozen.tcp.window);
    window.writeUInt32LE(0, 8);
    const broken: ReadonlyArray<readonly [string, Partial<TcpImage>]> = [
      ['repair', { mssClamp: 1 }],
      ['options', { options: { ...frozen.tcp.options, keepintvl: 100_000 } }],
      ['negotiated-options', { sndWscale: 200 }],
      ['window', { window }],
    ];
    for (const [step, part] of broken) {
      const error = errorOf(() => net.inside('b', () => thawSocket({ ...frozen.tcp, ...part }, pair.flow)));
      expect([step, error.code, error.details.step]).toEqual([step, 'thaw_failed', step]);
    }
    expect(net.sentPackets('b')).toBe(sent);
    unfreezeSocket(frozen.fd);
    closeFd(pair.server);
    closeFd(pair.client);
  });

  it('is refused by a host that has the same connection already', async () => {
    const pair = await openPair(net, '4');
    const frozen = freezeSocket(pair.server);
    const pending = net.inside('b', () => thawSocket(frozen.tcp, pair.flow));
    const error = errorOf(() => net.inside('b', () => thawSocket(frozen.tcp, pair.flow)));
    expect(error.details).toMatchObject({ step: 'connect', errnoName: 'EADDRNOTAVAIL' });
    net.steer('b');
    expect(activateSocket(pending).fd).toBe(pending.fd);
    discardFrozenSocket(frozen.fd);
    closeFd(pending.fd);
    closeFd(pair.client);
  });

  it('lets the application listen again on the port of a moved session', async () => {
    const pair = await openPair(net, '4');
    const frozen = freezeSocket(pair.server);
    const pending = net.inside('b', () => thawSocket(frozen.tcp, pair.flow));
    net.steer('b');
    const active = activateSocket(pending);
    discardFrozenSocket(frozen.fd);
    const listener = net.inside('b', () => openTcpSocket(afInet));
    setIntOption(listener, solSocket, so.reuseaddr, 1);
    bindSocket(listener, afInet, pair.flow.vip);
    listenSocket(listener, 1);
    expect(getLocalAddress(listener)).toEqual(pair.flow.vip);
    closeFd(listener);
    closeFd(active.fd);
    closeFd(pair.client);
  });
});
