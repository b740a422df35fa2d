/** Socket options and running timers travel with a session. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeFd } from '@restitch/sys';
import {
  getBufferOption,
  getIntOption,
  getIntOptionIfKnown,
  getTcpInfo,
  ip,
  ipv6,
  sendBytes,
  setBufferOption,
  setIntOption,
  so,
  solIp,
  solIpv6,
  solSocket,
  solTcp,
  tcp,
} from '@restitch/sys/internal';
import {
  activateSocket,
  freezeSocket,
  restoreTimers,
  thawSocket,
  uncapTimeouts,
} from '../../packages/endpoint/src/tcp/index.js';
import { confirmed, moveSocket, openPair, pause } from './socket-pair.js';
import { type TwoEndpoints, createTwoEndpoints } from './two-endpoints.js';

let net: TwoEndpoints;
beforeAll(() => {
  net = createTwoEndpoints();
});
afterAll(() => net?.close());

/** level, option, value to set; values the kernel doubles or rounds are compared as it reports them. */
const everyFamily: ReadonlyArray<readonly [string, number, number, number]> = [
  ['TCP_NODELAY', solTcp, tcp.nodelay, 1],
  ['TCP_CORK', solTcp, tcp.cork, 1],
  ['TCP_KEEPIDLE', solTcp, tcp.keepidle, 100],
  ['TCP_KEEPINTVL', solTcp, tcp.keepintvl, 11],
  ['TCP_KEEPCNT', solTcp, tcp.keepcnt, 4],
  ['TCP_LINGER2', solTcp, tcp.linger2, 17],
  ['TCP_USER_TIMEOUT', solTcp, tcp.userTimeout, 12_345],
  ['TCP_NOTSENT_LOWAT', solTcp, tcp.notsentLowat, 9999],
  ['TCP_WINDOW_CLAMP', solTcp, tcp.windowClamp, 40_000],
  ['SO_KEEPALIVE', solSocket, so.keepalive, 1],
  ['SO_RCVLOWAT', solSocket, so.rcvlowat, 3],
  ['SO_PRIORITY', solSocket, so.priority, 5],
  ['SO_MARK', solSocket, so.mark, 0x1234],
  ['SO_MAX_PACING_RATE', solSocket, so.maxPacingRate, 50_000_000],
  ['SO_OOBINLINE', solSocket, so.oobinline, 1],
  ['SO_SNDBUF', solSocket, so.sndbuf, 150_000],
  ['SO_RCVBUF', solSocket, so.rcvbuf, 180_000],
];
const ofFamily = {
  '4': [
    ['IP_TOS', solIp, ip.tos, 0x10],
    ['IP_TTL', solIp, ip.ttl, 33],
  ],
  '6': [
    ['IPV6_TCLASS', solIpv6, ipv6.tclass, 0x20],
    ['IPV6_UNICAST_HOPS', solIpv6, ipv6.unicastHops, 34],
    ['IPV6_V6ONLY', solIpv6, ipv6.v6only, 1],
  ],
} as const;

describe.each(['4', '6'] as const)('over IPv%s', (version) => {
  it('a fresh socket resends after a second at most, until its cap is taken away', async () => {
    const pair = await openPair(net, version);
    const before = getIntOptionIfKnown(pair.server, solTcp, tcp.rtoMaxMs);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    // Linux 6.15 brought the option.
    if (before !== undefined) expect(getIntOption(active.fd, solTcp, tcp.rtoMaxMs)).toBe(1000);
    uncapTimeouts(active.fd);
    expect(getIntOptionIfKnown(active.fd, solTcp, tcp.rtoMaxMs)).toBe(before);
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('every option is as it was', async () => {
    const pair = await openPair(net, version, {
      beforeListen: (fd) => version === '6' && setIntOption(fd, solIpv6, ipv6.v6only, 1),
    });
    const rows = [...everyFamily, ...ofFamily[version]];
    const linger = Buffer.from('0100000007000000', 'hex');
    for (const [, level, option, value] of rows) {
      if (option !== ipv6.v6only) setIntOption(pair.server, level, option, value);
    }
    setBufferOption(pair.server, solSocket, so.linger, linger);
    setBufferOption(pair.server, solTcp, tcp.congestion, Buffer.from('reno'));
    const read = (fd: number): Record<string, number> =>
      Object.fromEntries(rows.map(([name, level, option]) => [name, getIntOption(fd, level, option)]));
    const before = read(pair.server);
    expect(before).toMatchObject({ TCP_NODELAY: 1, SO_MARK: 0x1234, SO_SNDBUF: 300_000 });
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    expect(read(active.fd)).toEqual(before);
    const lingerNow = Buffer.alloc(8);
    getBufferOption(active.fd, solSocket, so.linger, lingerNow);
    expect(lingerNow).toEqual(linger);
    expect(congestionOf(active.fd)).toBe('reno');
    expect(getIntOption(active.fd, solSocket, so.bufLock)).toBe(3);
    closeFd(active.fd);
    closeFd(pair.client);
  });
});

it('buffers that nobody fixed go on tuning themselves', async () => {
  const pair = await openPair(net, '4');
  const active = moveSocket(net, pair.server, pair.flow, 'b');
  expect(getIntOption(active.fd, solSocket, so.bufLock)).toBe(0);
  closeFd(active.fd);
  closeFd(pair.client);
});

it('an unknown congestion control leaves the host its own', async () => {
  const pair = await openPair(net, '4');
  const frozen = freezeSocket(pair.server);
  const pending = net.inside('b', () => thawSocket({ ...frozen.tcp, congestion: 'nobodys' }, pair.flow));
  expect(pending.isCongestionKept).toBe(false);
  expect(congestionOf(pending.fd)).not.toBe('nobodys');
  closeFd(frozen.fd);
  closeFd(pending.fd);
  closeFd(pair.client);
});

describe('timers go on', () => {
  it('keepalive keeps what has run, and has its own values back once the client was heard', async () => {
    const pair = await openPair(net, '4');
    setIntOption(pair.server, solTcp, tcp.keepidle, 60);
    setIntOption(pair.server, solTcp, tcp.keepintvl, 20);
    setIntOption(pair.server, solTcp, tcp.keepcnt, 5);
    setIntOption(pair.server, solSocket, so.keepalive, 1);
    const frozen = freezeSocket(pair.server);
    // As if the client had been silent for 60 s, then left two probes without an answer, 5 s ago the second.
    const image = { ...frozen.tcp, keepaliveElapsedMs: 85_000 };
    const pending = net.inside('b', () => thawSocket(image, pair.flow));
    net.steer('b');
    const active = activateSocket(pending);
    closeFd(frozen.fd);
    const read = (): number[] =>
      [tcp.keepidle, tcp.keepintvl, tcp.keepcnt].map((option) => getIntOption(active.fd, solTcp, option));
    expect(read()).toEqual([15, 20, 3]);
    await confirmed(active);
    if (active.timers !== undefined) restoreTimers(active.fd, active.timers);
    expect(read()).toEqual([60, 20, 5]);
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('a move before the client was heard does not forget the configured values', async () => {
    const pair = await openPair(net, '4');
    setIntOption(pair.server, solTcp, tcp.userTimeout, 30_000);
    net.steer('nowhere');
    sendBytes(pair.server, Buffer.from('lost'));
    const frozen = freezeSocket(pair.server);
    const pending = net.inside('b', () => thawSocket({ ...frozen.tcp, unackedElapsedMs: 10_000 }, pair.flow));
    const active = activateSocket(pending);
    closeFd(frozen.fd);
    expect(getIntOption(active.fd, solTcp, tcp.userTimeout)).toBe(20_000);
    const again = freezeSocket(active.fd, { timers: active.timers });
    expect(again.tcp.options.userTimeout).toBe(30_000);
    expect(again.tcp.unackedElapsedMs).toBeGreaterThanOrEqual(10_000);
    closeFd(again.fd);
    closeFd(pair.client);
  });

  it('the wait for an acknowledgement is measured', async () => {
    const pair = await openPair(net, '4');
    net.steer('nowhere');
    sendBytes(pair.server, Buffer.from('lost'));
    await pause(900);
    expect(getTcpInfo(pair.server).retransmits).toBeGreaterThan(0);
    const { tcp: image, fd } = freezeSocket(pair.server);
    expect(image.unackedElapsedMs).toBeGreaterThan(500);
    expect(image.unackedElapsedMs).toBeLessThan(2000);
    expect(image.keepaliveElapsedMs).toBeGreaterThan(800);
    closeFd(fd);
    closeFd(pair.client);
  });
});

function congestionOf(fd: number): string {
  const name = Buffer.alloc(16);
  getBufferOption(fd, solTcp, tcp.congestion, name);
  return name.toString('latin1').replace(/\0.*$/, '');
}
