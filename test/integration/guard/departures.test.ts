/** What becomes of the connections of a process that ended, on its own host: real sockets, guard and agent, an unmodified client. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChannelListener, listenChannels, type TlsFiles } from '@restitch/channel';
import { createCounters, type Flow, systemClock } from '@restitch/core';
import { type FromEndpoint, fromEndpointSchema, parseMessage } from '@restitch/wire/internal';
import { HostAgent } from '@restitch/guard';
import { type GuardControl, removeGuardPins } from '@restitch/guard/internal';
import { closeFd, findTcpSocket } from '@restitch/sys';
import {
  bindSocket,
  connectSocket,
  enterNetworkNamespace,
  familyOf,
  getLocalAddress,
  getTcpInfo,
  listenSocket,
  openTcpSocket,
  setIntOption,
  so,
  solSocket,
  tcpState,
} from '@restitch/sys/internal';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDevPki } from '../../../packages/pki/src/dev-pki.js';
import { pause, waitFor } from '../socket-pair.js';
import { useBpfDirectory } from '../../bpf-directory.js';
import { createTwoEndpoints, type TwoEndpoints } from '../two-endpoints.js';

type Level = 'none' | 'periodic' | 'commit';
type Ended = Extract<FromEndpoint, { t: 'process-ended' }>;
type Finished = Extract<FromEndpoint, { t: 'finished' }>;

const tailBytes = 300 * 1024;
const pinDirectory = `${useBpfDirectory()}/pins`;
const socketPath = `${tmpdir()}/restitch-departures-${process.pid}.sock`;

let net: TwoEndpoints;
let directory: string;
let files: Record<'ap' | 'a', TlsFiles>;
let agent: HostAgent;
let accessPoint: { readonly port: number; readonly heard: FromEndpoint[]; close(): Promise<void> };
let counters: ReturnType<typeof createCounters>;
let children: ChildProcess[] = [];
let clients: Socket[] = [];
let port = 7300;

beforeAll(async () => {
  net = createTwoEndpoints();
  directory = mkdtempSync(join(tmpdir(), 'restitch-departures-'));
  const pki = await createDevPki(join(directory, 'pki'), { cluster: 'lab' });
  files = { ap: await pki.issue('access-point', 'ap'), a: await pki.issue('endpoint', 'a') };
  // A tail must fit into the kernel while its client does not read.
  net.run('a', 'sysctl -qw net.ipv4.tcp_wmem="4096 2097152 4194304"');
  net.run('client', 'sysctl -qw net.ipv4.tcp_rmem="4096 32768 32768"');
  // This thread is the host from here on: agent, guard and access point live in the endpoint's namespace.
  enterNetworkNamespace(net.namespacePath('a'));
});
afterAll(() => {
  removeGuardPins(pinDirectory);
  rmSync(directory, { recursive: true, force: true });
  net?.close();
});
beforeEach(async () => {
  net.steer('a');
  port++;
  counters = createCounters();
  accessPoint = await openAccessPoint(0);
  agent = await openAgent();
});
afterEach(async () => {
  for (const client of clients) client.destroy();
  for (const child of children) child.kill('SIGKILL');
  [clients, children] = [[], []];
  await agent.close();
  await accessPoint.close();
  removeGuardPins(pinDirectory);
});

const vip = (): { address: string; port: number } => ({ address: net.vip4, port });
const guard = (): GuardControl => agent.guard;

function openAgent(): Promise<HostAgent> {
  return HostAgent.open({
    name: 'a',
    socketPath,
    pinDirectory,
    interfaces: ['eth0'],
    counters,
    accessPoint: { host: '127.0.0.1', port: accessPoint.port },
    tls: files.a,
  });
}

async function openAccessPoint(at: number): Promise<typeof accessPoint> {
  const heard: FromEndpoint[] = [];
  const listener: ChannelListener = await listenChannels({
    host: '127.0.0.1',
    port: at,
    tls: files.ap,
    allow: ['endpoint'],
    maxMessageBytes: 4 * 1024 * 1024,
    onChannel: (channel) =>
      channel.onMessage((raw) => heard.push(parseMessage(fromEndpointSchema, raw, channel.peer.name))),
  });
  return { port: listener.port, heard, close: () => listener.close() };
}

const heardOf = <T extends FromEndpoint['t']>(t: T): Array<Extract<FromEndpoint, { t: T }>> =>
  accessPoint.heard.filter((m): m is Extract<FromEndpoint, { t: T }> => m.t === t);

/** A process with a lease that runs; listens, at this level, if it is to. */
class Server {
  readonly child = fork(new URL('tail-server.mjs', import.meta.url).pathname, [
    socketPath,
    vip().address,
    String(vip().port),
  ]);
  readonly #said: Array<Record<string, unknown>> = [];
  lease = 0;

  static async start(level?: Level): Promise<Server> {
    const server = new Server();
    children.push(server.child);
    server.child.on('message', (message) => server.#said.push(message as Record<string, unknown>));
    server.lease = (await server.heard('lease')).lease as number;
    guard().setLease(server.lease, systemClock.monotonicNs() + 60_000_000_000n);
    if (level === undefined) return server;
    guard().setListener(vip(), level, server.lease);
    server.child.send({ act: 'listen' });
    await server.heard('listening');
    return server;
  }

  async heard(key: string): Promise<Record<string, unknown>> {
    await waitFor(() => this.#said.some((message) => key in message));
    return this.#said.find((message) => key in message) ?? {};
  }

  async act(act: string, answer: string, more: object = {}): Promise<void> {
    this.child.send({ act, ...more });
    await this.heard(answer);
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }
}

interface Client {
  readonly flow: Flow;
  readonly socket: Socket;
  readonly got: () => number;
  readonly closedBy: () => string;
}

/** Connects; reads nothing before `readSlowly`. */
async function connectClient(): Promise<Client> {
  const family = familyOf(net.vip4);
  const fd = net.inside('client', () => openTcpSocket(family));
  connectSocket(fd, family, vip());
  await waitFor(() => getTcpInfo(fd).state === tcpState.established);
  const flow = { client: getLocalAddress(fd), vip: vip() };
  const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: false });
  clients.push(socket);
  let bytes = 0;
  let closedBy = 'nobody';
  socket.pause();
  socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
  socket.pause();
  socket.on('end', () => (closedBy = 'FIN'));
  socket.on('error', (error: NodeJS.ErrnoException) => (closedBy = error.code ?? 'error'));
  return { flow, socket, got: () => bytes, closedBy: () => closedBy };
}

/** A client that takes its time: about a megabyte in a second. */
async function readSlowly(client: Client, until: () => boolean): Promise<void> {
  await waitFor(() => {
    client.socket.resume();
    setTimeout(() => client.socket.pause(), 1);
    return until();
  }, 20_000);
}

/** One accepted connection, registered under epoch 1; returns where the tail will end. */
async function accept(server: Server, client: Client, level: Level): Promise<number> {
  await server.heard('accepted');
  const start = guard().originOf(client.flow)?.sentEnd ?? 0;
  const committed = guard().lookup(client.flow)?.committed ?? 0;
  expect(
    guard().register(client.flow, {
      epoch: 1,
      level,
      lease: server.lease,
      committed,
      sentEnd: start,
      windowScale: 7,
    }),
  ).toBe('ok');
  return (start + tailBytes) >>> 0;
}

/** A session whose application has written its last bytes and ended, none of which the client has read. */
async function openTail(level: Level): Promise<{ server: Server; client: Client }> {
  const server = await Server.start(level);
  const client = await connectClient();
  const end = await accept(server, client, level);
  await server.act('write', 'written', { bytes: tailBytes });
  expect(guard().end(client.flow, 1, end)).toBe('ok');
  await server.act('end', 'ended');
  return { server, client };
}

describe.each(['none', 'periodic'] as const)(
  'a process killed at level %s with a tail under way',
  (level) => {
    it('is finished by its kernel: every byte, a clean end, and then the access point is told', async () => {
      const { server, client } = await openTail(level);
      await server.kill();
      await waitFor(() => heardOf('process-ended').length === 1);
      expect(guard().leaseEndsAtNs(server.lease)).toBe(0n);
      expect((heardOf('process-ended')[0] as Ended).isLeaving).toBeUndefined();
      await pause(1200);
      expect(heardOf('finished')).toEqual([]);
      expect(guard().lookup(client.flow)).toBeDefined();
      await readSlowly(client, () => client.closedBy() !== 'nobody');
      expect([client.closedBy(), client.got()]).toEqual(['FIN', tailBytes]);
      await waitFor(() => heardOf('finished').length === 1);
      expect((heardOf('finished')[0] as Finished).flows).toEqual([{ flow: client.flow, epoch: 1 }]);
      expect(guard().lookup(client.flow)).toBeUndefined();
      expect(counters.get('agent_orphans_total')).toBe(0);
    }, 60_000);
  },
);

describe('the end of a tail', () => {
  it('is told by the next agent, if there was none when it came', async () => {
    const { server, client } = await openTail('none');
    await server.kill();
    await waitFor(() => heardOf('process-ended').length === 1);
    await agent.close();
    await readSlowly(client, () => client.closedBy() !== 'nobody');
    expect([client.closedBy(), client.got()]).toEqual(['FIN', tailBytes]);
    await pause(200);
    expect(heardOf('finished')).toEqual([]);
    agent = await openAgent();
    await waitFor(() => heardOf('finished').length === 1);
    expect((heardOf('finished')[0] as Finished).flows).toEqual([{ flow: client.flow, epoch: 1 }]);
    expect(guard().lookup(client.flow)).toBeUndefined();
  }, 60_000);

  it('is told when the access point is there again, if it was away', async () => {
    const { server, client } = await openTail('none');
    const { port: at } = accessPoint;
    await accessPoint.close();
    await server.kill();
    await readSlowly(client, () => client.closedBy() !== 'nobody');
    expect(client.closedBy()).toBe('FIN');
    await pause(1000);
    expect(guard().lookup(client.flow)).toBeDefined();
    accessPoint = await openAccessPoint(at);
    await waitFor(() => heardOf('finished').length > 0);
    await waitFor(() => heardOf('process-ended').length === 1);
    expect(guard().lookup(client.flow)).toBeUndefined();
  }, 60_000);

  it('is told again if the connection breaks on which it was told', async () => {
    const { server, client } = await openTail('none');
    await server.kill();
    await readSlowly(client, () => client.closedBy() !== 'nobody');
    await waitFor(() => heardOf('finished').length === 1);
    const { port: at } = accessPoint;
    await accessPoint.close();
    accessPoint = await openAccessPoint(at);
    await waitFor(() => heardOf('finished').length === 1);
  }, 60_000);
});

describe('a process that leaves', () => {
  it('is no death, but its lease ends with it', async () => {
    const { server, client } = await openTail('none');
    server.child.send({ act: 'leave' });
    await waitFor(() => heardOf('process-ended').length === 1);
    expect(heardOf('process-ended')[0]).toMatchObject({ isFenced: true, isLeaving: true });
    expect(guard().leaseEndsAtNs(server.lease)).toBe(0n);
    expect([counters.get('agent_leaves_total'), counters.get('agent_deaths_total')]).toEqual([1, 0]);
    await readSlowly(client, () => client.closedBy() !== 'nobody');
    expect([client.closedBy(), client.got()]).toEqual(['FIN', tailBytes]);
  }, 60_000);
});

describe('level commit', () => {
  it.each(['kill', 'leave'] as const)(
    'says nothing to its client after a %s, keeps the entry, and its orphan is gone',
    async (how) => {
      const { server, client } = await openTail('commit');
      if (how === 'kill') await server.kill();
      else server.child.send({ act: 'leave' });
      await waitFor(() => counters.get('agent_orphans_total') === 1);
      expect(findTcpSocket(client.flow.vip, client.flow.client)).toBeUndefined();
      // The next process listens on the same port with a lease of its own: what the client sends draws resets here.
      await Server.start('commit');
      const before = guard().verdicts().dropLease;
      client.socket.resume();
      client.socket.write('hello?');
      await waitFor(() => guard().verdicts().dropLease > before);
      await pause(300);
      expect(client.closedBy()).toBe('nobody');
      expect(guard().lookup(client.flow)).toMatchObject({ epoch: 1 });
      expect(heardOf('finished')).toEqual([]);
    },
    60_000,
  );

  it('resets who waited in the accept queue of the dead', async () => {
    const server = await Server.start('commit');
    await server.act('block', 'blocked');
    const client = await connectClient();
    client.socket.write('request');
    client.socket.resume();
    await pause(100);
    await server.kill();
    await waitFor(() => client.closedBy() !== 'nobody');
    expect(client.closedBy()).toBe('ECONNRESET');
  }, 60_000);

  it('leaves alone who waits in the accept queue of the next process, also with its FIN in', async () => {
    const listener = openTcpSocket(familyOf(net.vip4));
    setIntOption(listener, solSocket, so.reuseaddr, 1);
    bindSocket(listener, familyOf(net.vip4), vip());
    listenSocket(listener, 16);
    const [open, ended] = [await connectClient(), await connectClient()];
    ended.socket.end();
    const stateOf = ({ flow }: Client): number | undefined => findTcpSocket(flow.vip, flow.client)?.state;
    await waitFor(() => stateOf(ended) === tcpState.closeWait);
    const settings = { level: 'commit', lease: 900, committed: 1, sentEnd: 1, windowScale: 7 } as const;
    for (const { flow } of [open, ended]) guard().register(flow, { epoch: 1, ...settings });
    guard().setLease(900, 1n);
    await pause(1500);
    expect([stateOf(open), stateOf(ended)]).toEqual([tcpState.established, tcpState.closeWait]);
    expect(counters.get('agent_orphans_total')).toBe(0);
    for (const { flow } of [open, ended]) guard().remove(flow, 1);
    closeFd(listener);
  }, 60_000);
});

describe('level none', () => {
  it('tells a client whose application had not ended, and leaves no orphan', async () => {
    const server = await Server.start('none');
    const client = await connectClient();
    await accept(server, client, 'none');
    await server.act('write', 'written', { bytes: 10 });
    client.socket.resume();
    await waitFor(() => client.got() === 10);
    await server.kill();
    await waitFor(() => client.closedBy() !== 'nobody');
    expect(client.closedBy()).toBe('ECONNRESET');
    await waitFor(() => findTcpSocket(client.flow.vip, client.flow.client) === undefined);
    expect(heardOf('finished')).toEqual([]);
  }, 60_000);
});
