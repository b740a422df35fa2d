/** Sessions that are half closed, or closing, move and end as they would have. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeFd } from '@restitch/sys';
import {
  getTcpInfo,
  receiveBytes,
  sendBytes,
  setIntOption,
  shutdownSend,
  so,
  solSocket,
  tcpState,
} from '@restitch/sys/internal';
import { freezeSocket, unfreezeSocket } from '../../packages/endpoint/src/tcp/index.js';
import {
  moveSocket,
  openPair,
  readExactly,
  readToEnd,
  waitFor,
  writeAll,
  writeUnsent,
} from './socket-pair.js';
import { type TwoEndpoints, createTwoEndpoints } from './two-endpoints.js';

let net: TwoEndpoints;
beforeAll(() => {
  net = createTwoEndpoints();
});
afterAll(() => net?.close());

const state = (fd: number): number => getTcpInfo(fd).state;

describe.each(['4', '6'] as const)('over IPv%s', (version) => {
  it('a session whose client has closed reads its end and answers to the last', async () => {
    const pair = await openPair(net, version);
    sendBytes(pair.client, Buffer.from('request'));
    shutdownSend(pair.client);
    await waitFor(() => state(pair.server) === tcpState.closeWait);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    expect(await readToEnd(active.fd)).toEqual(Buffer.from('request'));
    expect(state(active.fd)).toBe(tcpState.closeWait);
    sendBytes(active.fd, Buffer.from('answer'));
    shutdownSend(active.fd);
    expect(await readToEnd(pair.client)).toEqual(Buffer.from('answer'));
    await waitFor(() => state(active.fd) === tcpState.close);
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('a session that has said its last goes on listening', async () => {
    const pair = await openPair(net, version);
    sendBytes(pair.server, Buffer.from('answer'));
    shutdownSend(pair.server);
    expect(await readToEnd(pair.client)).toEqual(Buffer.from('answer'));
    await waitFor(() => state(pair.server) === tcpState.finWait2);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    sendBytes(pair.client, Buffer.from('late'));
    expect(await readExactly(active.fd, 4)).toEqual(Buffer.from('late'));
    await waitFor(() => state(active.fd) === tcpState.finWait2);
    shutdownSend(pair.client);
    expect(await readToEnd(active.fd)).toEqual(Buffer.alloc(0));
    await waitFor(() => state(pair.client) === tcpState.close);
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('an end that the client has received and not acknowledged is not sent as new', async () => {
    const pair = await openPair(net, version);
    net.steer('nowhere');
    sendBytes(pair.server, Buffer.from('answer'));
    shutdownSend(pair.server);
    expect(await readToEnd(pair.client)).toEqual(Buffer.from('answer'));
    expect(state(pair.server)).toBe(tcpState.finWait1);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    await waitFor(() => state(active.fd) === tcpState.finWait2);
    shutdownSend(pair.client);
    expect(await readToEnd(active.fd)).toEqual(Buffer.alloc(0));
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('a session in LAST_ACK ends at the target', async () => {
    const pair = await openPair(net, version);
    shutdownSend(pair.client);
    await waitFor(() => state(pair.server) === tcpState.closeWait);
    net.steer('nowhere');
    shutdownSend(pair.server);
    expect(await readToEnd(pair.client)).toEqual(Buffer.alloc(0));
    expect(state(pair.server)).toBe(tcpState.lastAck);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    await waitFor(() => state(active.fd) === tcpState.close);
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('a session that both sides close at once ends at the target', async () => {
    const pair = await openPair(net, version);
    net.run(
      'client',
      'nft -f - <<X\ntable inet lose { chain in { type filter hook input priority 0; meta l4proto tcp drop; }; }\nX',
    );
    shutdownSend(pair.server);
    shutdownSend(pair.client);
    await waitFor(() => state(pair.server) === tcpState.closing);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    await waitFor(() => state(active.fd) === tcpState.closing);
    net.run('client', 'nft delete table inet lose');
    expect(await readToEnd(pair.client)).toEqual(Buffer.alloc(0));
    await waitFor(() => state(active.fd) === tcpState.close);
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('an end that waits behind unsent bytes follows them', async () => {
    const pair = await openPair(net, version, {
      beforeConnect: (fd) => setIntOption(fd, solSocket, so.rcvbuf, 8192),
      beforeListen: (fd) => setIntOption(fd, solSocket, so.sndbuf, 1 << 20),
    });
    const answer = Buffer.alloc(100_000, 'answer');
    expect(sendBytes(pair.server, answer)).toBe(answer.length);
    shutdownSend(pair.server);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    expect(active.unsent.length).toBeGreaterThan(50_000);
    expect(active.endAfterUnsent).toBe(true);
    await writeUnsent(active);
    expect((await readToEnd(pair.client)).equals(answer)).toBe(true);
    await waitFor(() => state(active.fd) === tcpState.finWait2);
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('a frozen session that is put back ends as if nothing had happened', async () => {
    const pair = await openPair(net, version);
    sendBytes(pair.client, Buffer.from('request'));
    shutdownSend(pair.client);
    await waitFor(() => state(pair.server) === tcpState.closeWait);
    unfreezeSocket(freezeSocket(pair.server).fd);
    expect(await readToEnd(pair.server)).toEqual(Buffer.from('request'));
    await writeAll(pair.server, Buffer.from('answer'));
    shutdownSend(pair.server);
    expect(await readToEnd(pair.client)).toEqual(Buffer.from('answer'));
    await waitFor(() => state(pair.server) === tcpState.close);
    expect(receiveBytes(pair.server, Buffer.alloc(1))).toBe(0);
    closeFd(pair.server);
    closeFd(pair.client);
  });
});
