/** Full queues, closed windows, bytes in flight and sequence numbers that wrap. */
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeFd } from '@restitch/sys';
import {
  getTcpInfo,
  receiveBytes,
  sendBytes,
  setBufferOption,
  setIntOption,
  so,
  solSocket,
  solTcp,
  tcp,
  tcpState,
  unacknowledgedBytes,
  unreadBytes,
} from '@restitch/sys/internal';
import {
  activateSocket,
  discardFrozenSocket,
  freezeSocket,
  readRemainder,
  rethawRemainder,
  thawSocket,
  unfreezeSocket,
} from '../../packages/endpoint/src/tcp/index.js';
import { windowField } from '../../packages/endpoint/src/tcp/repair.js';
import {
  confirmed,
  moveSocket,
  openPair,
  readExactly,
  type SocketPair,
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

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Fills a sender until neither kernel takes more; returns how much went in. */
async function fill(from: number, data: Buffer): Promise<number> {
  let done = 0;
  let idleSince = Date.now();
  await waitFor(() => {
    const taken = done < data.length ? sendBytes(from, data.subarray(done)) : 0;
    done += taken;
    if (taken > 0) idleSince = Date.now();
    return Date.now() - idleSince > 100;
  });
  return done;
}

/** Lets the server's congestion window grow until it can send a megabyte and more without an acknowledgement. */
async function warmUp(pair: SocketPair): Promise<void> {
  // Grows with what is acknowledged. The system's own choice may go by a measured rate, which a busy machine keeps low.
  setBufferOption(pair.server, solTcp, tcp.congestion, Buffer.from('reno'));
  const block = randomBytes(1 << 20);
  const isWide = (): boolean => {
    const { sndCwnd, sndMss } = getTcpInfo(pair.server);
    return sndCwnd * sndMss > 2 * block.length;
  };
  for (let i = 0; i < 24 || (i < 200 && !isWide()); i++) {
    const reading = readExactly(pair.client, block.length);
    await writeAll(pair.server, block);
    await reading;
  }
}

describe.each(['4', '6'] as const)('over IPv%s', (version) => {
  it('unread bytes travel, and a closed receive window opens again', async () => {
    const pair = await openPair(net, version, {
      beforeListen: (fd) => setIntOption(fd, solSocket, so.rcvbuf, 200_000),
    });
    const data = randomBytes(4 << 20);
    const taken = await fill(pair.client, data);
    expect(unreadBytes(pair.server)).toBeGreaterThan(100_000);
    const { tcp: image } = freezeSocket(pair.server);
    expect(windowField(image.window, 'rcvWnd')).toBe(0);
    unfreezeSocket(pair.server);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    const reading = readExactly(active.fd, data.length, 20_000);
    await writeAll(pair.client, data.subarray(taken), 20_000);
    expect(hash(await reading)).toBe(hash(data));
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('a dual-stack listener keeps its IPv4 clients', async () => {
    const pair = await openPair(net, '4', { isDualStack: true });
    await writeAll(pair.client, Buffer.from('hello'));
    await waitFor(() => unreadBytes(pair.server) === 5);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    expect(await readExactly(active.fd, 5)).toEqual(Buffer.from('hello'));
    await writeAll(active.fd, Buffer.from('world'));
    expect(await readExactly(pair.client, 5)).toEqual(Buffer.from('world'));
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('an unread queue of many megabytes travels', async () => {
    const pair = await openPair(net, version, {
      beforeListen: (fd) => setIntOption(fd, solSocket, so.rcvbufForce, 8 << 20),
    });
    const data = randomBytes(6 << 20);
    await writeAll(pair.client, data);
    await waitFor(() => unreadBytes(pair.server) === data.length);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    expect(hash(await readExactly(active.fd, data.length))).toBe(hash(data));
    await writeAll(pair.client, Buffer.from('more'));
    expect(await readExactly(active.fd, 4)).toEqual(Buffer.from('more'));
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('a full send queue before a client that does not read travels', async () => {
    const pair = await openPair(net, version, {
      beforeConnect: (fd) => setIntOption(fd, solSocket, so.rcvbuf, 50_000),
    });
    const data = randomBytes(8 << 20);
    const taken = await fill(pair.server, data);
    expect(taken).toBeLessThan(data.length);
    const active = moveSocket(net, pair.server, pair.flow, 'b');
    const reading = readExactly(pair.client, data.length, 20_000);
    await writeUnsent(active);
    await writeAll(active.fd, data.subarray(taken), 20_000);
    expect(hash(await reading)).toBe(hash(data));
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('a client that is a megabyte ahead of the last known acknowledgement goes on', async () => {
    const pair = await openPair(net, version, {
      beforeListen: (fd) => setIntOption(fd, solSocket, so.sndbufForce, 8 << 20),
      beforeConnect: (fd) => setIntOption(fd, solSocket, so.rcvbufForce, 8 << 20),
    });
    await warmUp(pair);
    net.steer('nowhere');
    const data = randomBytes(1 << 20);
    expect(sendBytes(pair.server, data)).toBe(data.length);
    await waitFor(() => unreadBytes(pair.client) === data.length);
    const frozen = freezeSocket(pair.server);
    expect(frozen.tcp.sentBytes).toBe(data.length);
    const pending = net.inside('b', () => thawSocket(frozen.tcp, pair.flow));
    net.steer('b');
    const active = activateSocket(pending);
    discardFrozenSocket(frozen.fd);
    await confirmed(active);
    await waitFor(() => unacknowledgedBytes(active.fd) === 0);
    await writeAll(active.fd, Buffer.from('next'));
    expect(hash(await readExactly(pair.client, data.length))).toBe(hash(data));
    expect(await readExactly(pair.client, 4)).toEqual(Buffer.from('next'));
    expect(getTcpInfo(active.fd).totalRetrans).toBe(0);
    closeFd(active.fd);
    closeFd(pair.client);
  });

  it('a client with a shut window is waited for through seconds in which nothing comes from it', async () => {
    const pair = await openPair(net, version, {
      beforeConnect: (fd) => setIntOption(fd, solSocket, so.rcvbuf, 2000),
    });
    const offered = randomBytes(60_000);
    const data = offered.subarray(0, await fill(pair.server, offered));
    await waitFor(() => getTcpInfo(pair.server).probes > 0 || getTcpInfo(pair.server).retransmits > 0);
    const frozen = freezeSocket(pair.server);
    const { sendQueue } = frozen.tcp;
    expect(sendQueue.length).toBeGreaterThan(10_000);
    // As a successor finds it: what its owner had promised is restored as sent, however little the client has room for.
    const image = { ...frozen.tcp, sentBytes: sendQueue.length };
    const pending = net.inside('b', () => thawSocket(image, pair.flow));
    net.steer('nowhere');
    const active = activateSocket(pending);
    discardFrozenSocket(frozen.fd);
    await new Promise((resolve) => setTimeout(resolve, 4500));
    expect(getTcpInfo(active.fd).state).toBe(tcpState.established);
    net.steer('b');
    expect(hash(await readExactly(pair.client, data.length, 20_000))).toBe(hash(data));
    closeFd(active.fd);
    closeFd(pair.client);
  }, 40_000);

  it('a tail that was lost in flight is sent at once by thawing the remainder', async () => {
    const pair = await openPair(net, version);
    await warmUp(pair);
    const data = randomBytes(100_000);
    net.run(
      'client',
      'nft -f - <<X\ntable inet lose { chain in { type filter hook input priority 0; meta l4proto tcp drop; }; }\nX',
    );
    await writeAll(pair.server, data);
    const frozen = freezeSocket(pair.server);
    expect(frozen.tcp.sentBytes).toBe(data.length);
    net.run('client', 'nft delete table inet lose');
    const pending = net.inside('b', () => thawSocket(frozen.tcp, pair.flow));
    net.steer('b');
    const active = activateSocket(pending);
    discardFrozenSocket(frozen.fd);
    await confirmed(active);
    expect(readRemainder(active.fd)).toBe(data.length);
    const again = net.inside('b', () => rethawRemainder(active.fd, pair.flow));
    expect(again.unsent.length).toBe(data.length);
    const reading = readExactly(pair.client, data.length);
    await writeUnsent(again);
    expect(hash(await reading)).toBe(hash(data));
    await waitFor(() => unacknowledgedBytes(again.fd) === 0);
    closeFd(again.fd);
    closeFd(pair.client);
  });

  it('sequence numbers that wrap during the move lose nothing', async () => {
    const first = await openPair(net, version);
    const { tcp } = freezeSocket(first.server);
    discardFrozenSocket(first.server);
    // The same connection once more, both ends built just below the wrap.
    const seqs = { rcvNxt: 0xffff_ff00, writeSeq: 0xffff_fe00 };
    const window = Buffer.from(tcp.window);
    window.writeUInt32LE(seqs.rcvNxt, 0);
    window.writeUInt32LE(seqs.rcvNxt, 16);
    const clientTcp = freezeSocket(first.client).tcp;
    discardFrozenSocket(first.client);
    const clientWindow = Buffer.from(clientTcp.window);
    clientWindow.writeUInt32LE(seqs.writeSeq, 0);
    clientWindow.writeUInt32LE(seqs.writeSeq, 16);
    const server = net.inside('a', () => thawSocket({ ...tcp, ...seqs, window }, first.flow));
    const client = net.inside('client', () =>
      thawSocket(
        { ...clientTcp, rcvNxt: seqs.writeSeq, writeSeq: seqs.rcvNxt, window: clientWindow },
        { client: first.flow.vip, vip: first.flow.client },
      ),
    );
    let fd = activateSocket(server).fd;
    activateSocket(client);
    const data = randomBytes(3000);
    for (const to of ['b', 'a', 'b'] as const) {
      await writeAll(client.fd, data);
      await writeAll(fd, data);
      await waitFor(() => unreadBytes(fd) === data.length);
      const active = moveSocket(net, fd, first.flow, to);
      fd = active.fd;
      await writeUnsent(active);
      expect(await readExactly(fd, data.length)).toEqual(data);
      expect(await readExactly(client.fd, data.length)).toEqual(data);
    }
    const end = freezeSocket(fd).tcp;
    expect([end.rcvNxt, end.writeSeq]).toEqual([9000 - 0x100, 9000 - 0x200]);
    expect(receiveBytes(client.fd, Buffer.alloc(1))).toBe(-1);
    closeFd(fd);
    closeFd(client.fd);
  });
});
