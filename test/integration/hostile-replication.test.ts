/**
 * A hostile peer, and an honest one that is damaged on the way, on the connection that replicas come in by: at the real
 * state listener of an endpoint with a session of its own and replicas of others. Each message is refused under a counter
 * of its own, the endpoint's client goes on, and no other owner's replica changes by a byte.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TlsFiles } from '@restitch/channel';
import { createCounters } from '@restitch/core';
import { type Endpoint, createEndpoint } from '@restitch/endpoint';
import { HostAgent } from '@restitch/guard';
import { type Commit, encodeOpening } from '@restitch/wire/internal';
import { createOwnerSession, type OwnerSession, removeGuardPins } from '@restitch/guard/internal';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createDevPki } from '../../packages/pki/src/dev-pki.js';
import { FakeAccessPoint, type FakePeer } from './endpoint/fake-access-point.js';
import { useBpfDirectory } from '../bpf-directory.js';
import { type Prey, type Speaker, cutOff, openRaw, speakTo } from './hostile/intruder.js';

const protocol = { major: 1, minor: 0 };
const settings = { sessionBoundBytes: 1 << 20, logBoundBytes: 65_536, replay: false };
const boundBytes = 256 * 1024;
const flow = { client: { address: '192.0.2.7', port: 4000 }, vip: { address: '192.0.2.100', port: 7000 } };

const pinDirectory = `${useBpfDirectory()}/pins`;
let directory: string;
let files: Record<'ap' | 'a' | 'b' | 'c', TlsFiles>;
let accessPoint: FakeAccessPoint;
let agent: HostAgent;
let endpoint: Endpoint;
let peer: FakePeer;
let prey: Prey;
let client: net.Socket;
let honest: Speaker;
let session: OwnerSession;
const counters = createCounters();

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-hostile-rep-'));
  const pki = await createDevPki(join(directory, 'pki'), { cluster: 'test' });
  files = {
    ap: await pki.issue('access-point', 'ap'),
    a: await pki.issue('endpoint', 'a'),
    b: await pki.issue('endpoint', 'b'),
    c: await pki.issue('endpoint', 'c'),
  };
  accessPoint = await FakeAccessPoint.open('127.0.0.1', files.ap);
  const agentSocket = join(directory, 'agent.sock');
  agent = await HostAgent.open({ name: 'a', socketPath: agentSocket, pinDirectory, interfaces: [] });
  endpoint = createEndpoint({
    name: 'a',
    accessPoint: { host: '127.0.0.1', port: accessPoint.port },
    tls: files.a,
    stateAddress: { host: '127.0.0.1', port: 0 },
    app: { name: 'echo', version: '1' },
    counters,
    guard: { agentSocket, replicaBoundBytes: boundBytes },
  });
  const server = endpoint.createServer({ listener: 'main', protection: { level: 'commit' } }, (own) => {
    own.on('error', () => undefined);
    own.pipe(own);
  });
  server.listen({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  client = net.connect({ port: server.vip.port, host: '127.0.0.1' });
  await assertServes();
  peer = await accessPoint.peer('a');
  prey = { port: endpoint.stateAddress?.port ?? 0, role: 'endpoint' };
  honest = await openReplication('c');
  session = newSession('kept');
  await store(honest, commitOf(session, 'state of c'));
});

afterAll(async () => {
  client?.destroy();
  honest?.close();
  const closed = once(endpoint, 'close');
  endpoint.close();
  await closed;
  await accessPoint.close();
  await agent.close();
  removeGuardPins(pinDirectory);
  rmSync(directory, { recursive: true });
});

let isKeptBefore: unknown;
afterEach(async () => {
  await assertServes();
  expect(await replicasOf('c')).toEqual(isKeptBefore ?? (await replicasOf('c')));
});

/** The client's bytes still come back on the connection it has had from the beginning. */
async function assertServes(): Promise<void> {
  const line = `line ${performance.now()}`;
  client.write(line);
  let got = '';
  while (got.length < line.length) got += String((await once(client, 'data'))[0]);
  expect(got).toBe(line);
}

async function replicasOf(owner: string): Promise<unknown> {
  return (await peer.ask({ t: 'replicas', owner })).replicas;
}

function newSession(id: string, epoch = 3, openingBytes?: Buffer): OwnerSession {
  const template = {
    mssClamp: 1460,
    sndWscale: 7,
    rcvWscale: 7,
    hasWscale: true,
    hasSack: true,
    hasTimestamps: true,
    timestamp: 1000,
    window: Buffer.alloc(20),
    options: {},
    congestion: 'cubic',
    clientStart: 1,
    serverStart: 1,
    readAtMs: 0,
  };
  const opening =
    openingBytes ??
    encodeOpening({
      flow,
      listener: 'main',
      app: { name: 'echo', version: '1' },
      openedAtMs: 1,
      moves: 0,
      template: template as never,
      level: 'commit',
      commitBase: 0,
    });
  return createOwnerSession({ id, epoch, opening, settings });
}

function commitOf(owner: OwnerSession, state: string): Commit {
  owner.produced(Buffer.from(state));
  const commit = owner.commit({ consumed: 0, state });
  if (commit === undefined) throw new Error('nothing to commit');
  return commit;
}

async function openReplication(as: 'b' | 'c', more: object = {}): Promise<Speaker> {
  const speaker = await speakTo(prey, files[as]);
  speaker.say({ t: 'state-hello', protocol, name: as, purpose: 'replication', ...more });
  return speaker;
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(what()).toBe(true);
}

/** Says it and waits for the next answer. */
async function answerTo(speaker: Speaker, message: object): Promise<Record<string, unknown>> {
  const before = speaker.heard.length;
  speaker.say(message);
  await until(() => speaker.heard.length > before);
  return speaker.heard.at(-1) as unknown as Record<string, unknown>;
}

async function store(speaker: Speaker, commit: Commit): Promise<void> {
  await until(() => speaker.heard.length > 0);
  expect(await answerTo(speaker, commit)).toMatchObject({ t: 'committed' });
}

function count(name: string): number {
  return counters.get(name);
}

describe('what does not fit the protocol ends the connection', () => {
  const good = (): Commit => commitOf(newSession('mine'), 'mine');
  it.each<[string, string, () => Promise<unknown>]>([
    [
      'an owner that calls itself another',
      'forbidden',
      async () => (await openReplication('b', { name: 'c' })).closed,
    ],
    [
      'a newer major version',
      'version_unsupported',
      async () => (await openReplication('b', { protocol: { major: 2, minor: 0 } })).closed,
    ],
    [
      'a commit before hello',
      'message_invalid',
      async () => (await speakTo(prey, files.b)).say(good()).closed,
    ],
    [
      'a commit on a connection for images',
      'message_invalid',
      async () => (await openReplication('b', { purpose: undefined })).say(good()).closed,
    ],
    [
      'an image between commits',
      'message_invalid',
      async () => {
        const image = { t: 'image', moveId: 'm', epoch: 5, image: Buffer.alloc(9) };
        return (await openReplication('b')).say(image).closed;
      },
    ],
    [
      "the buddy's own words",
      'message_invalid',
      async () => (await openReplication('b')).say({ t: 'committed', sessions: [] }).closed,
    ],
    ...(['id', 'epoch', 'n', 'input', 'output', 'acked', 'chain', 'fin'] as const).map(
      (key): [string, string, () => Promise<unknown>] => [
        `a commit without ${key}`,
        'message_invalid',
        async () => {
          const { [key]: _, ...rest } = good();
          return (await openReplication('b')).say(rest).closed;
        },
      ],
    ),
    ...[
      { epoch: -1 },
      { epoch: 0x1000000 },
      { id: 'line\nbreak' },
      { n: 0 },
      { acked: Number.MAX_SAFE_INTEGER * 2 },
      { id: 'x'.repeat(65) },
      { input: 'text' },
      { chain: 2 ** 33 },
    ].map((fault): [string, string, () => Promise<unknown>] => [
      `a commit with ${Object.keys(fault)} out of range`,
      'message_invalid',
      async () => (await openReplication('b')).say({ ...good(), ...fault }).closed,
    ]),
    [
      'a resume of more sessions than fit',
      'message_invalid',
      async () => {
        const sessions = Array.from({ length: 4097 }, (_, i) => ({ id: `s${i}`, epoch: 1 }));
        return (await openReplication('b')).say({ t: 'resume', sessions }).closed;
      },
    ],
    [
      'a message cut off in the middle',
      'truncated',
      async () => {
        const socket = await openRaw(prey, files.b);
        socket.end(Buffer.from([0, 0, 1, 0, 0x81]));
        await cutOff(socket);
      },
    ],
  ])('%s: %s', async (_what, code, attack) => {
    isKeptBefore = await replicasOf('c');
    const name = `channel_refused_${code}_total`;
    const before = count(name);
    await attack();
    await until(() => count(name) === before + 1);
    expect(await replicasOf('b')).toEqual([]);
  });
});

describe('what fits the protocol and is not true', () => {
  it('a forged commit of another owner`s session touches only what the forger has', async () => {
    isKeptBefore = await replicasOf('c');
    const intruder = await openReplication('b');
    await until(() => intruder.heard.length > 0);
    const gaps = count('replication_gaps_total');
    const next = { ...commitOf(newSession('kept'), 'x'), n: 2, state: undefined };
    expect(await answerTo(intruder, next)).toMatchObject({
      t: 'resume-from',
      sessions: [{ id: 'kept', n: 0 }],
    });
    expect(count('replication_gaps_total')).toBe(gaps + 1);
    expect(await answerTo(intruder, { t: 'forget', id: 'kept', epoch: 99 })).toMatchObject({
      t: 'forgotten',
    });
    // Under its own name it may keep what it likes, and take it away again.
    expect(await answerTo(intruder, commitOf(newSession('kept', 99), 'forged'))).toMatchObject({
      t: 'committed',
    });
    expect(await replicasOf('c')).toEqual(isKeptBefore);
    await answerTo(intruder, { t: 'forget', id: 'kept', epoch: 99 });
    intruder.close();
  });

  it('a commit played again is acknowledged again and changes nothing', async () => {
    const commit = commitOf(session, 'more');
    await store(honest, commit);
    isKeptBefore = await replicasOf('c');
    const repeats = count('replication_repeats_total');
    for (let i = 0; i < 3; i++) expect(await answerTo(honest, commit)).toMatchObject({ t: 'committed' });
    expect(count('replication_repeats_total')).toBe(repeats + 3);
  });

  it('commits out of order are asked for from where the gap begins', async () => {
    isKeptBefore = undefined;
    const [first, second] = [commitOf(session, 'first'), commitOf(session, 'second')];
    const gaps = count('replication_gaps_total');
    expect(await answerTo(honest, second)).toMatchObject({
      t: 'resume-from',
      sessions: [{ id: 'kept', epoch: 3, n: first.n - 1 }],
    });
    expect(count('replication_gaps_total')).toBe(gaps + 1);
    await store(honest, first);
    await store(honest, second);
    expect(await replicasOf('c')).toEqual([{ id: 'kept', epoch: 3, n: second.n }]);
  });

  it.each<[string, (commit: Commit) => Commit]>([
    ['another checksum', (c) => ({ ...c, chain: c.chain ^ 1 })],
    ['another output', (c) => ({ ...c, output: Buffer.from('X'.repeat(c.output.length)) })],
    ['output cut short', (c) => ({ ...c, output: c.output.subarray(1) })],
    ['output from elsewhere', (c) => ({ ...c, outputStart: c.outputStart + 1 })],
    ['more acknowledged than was sent', (c) => ({ ...c, acked: c.acked + 1_000_000 })],
    ['the end of the stream', (c) => ({ ...c, fin: true })],
  ])(
    'a commit with %s is refused by its number, and the right one is taken after it',
    async (_what, damage) => {
      isKeptBefore = undefined;
      const commit = commitOf(session, `after ${_what}`);
      const refused = count('replication_refused_message_invalid_total');
      expect(await answerTo(honest, damage(commit))).toEqual({
        t: 'commit-refused',
        id: 'kept',
        epoch: 3,
        n: commit.n,
        code: 'message_invalid',
      });
      expect(count('replication_refused_message_invalid_total')).toBe(refused + 1);
      await store(honest, commit);
    },
  );

  it('a commit of an ownership that has ended is refused', async () => {
    isKeptBefore = await replicasOf('c');
    const refused = count('replication_refused_stale_epoch_total');
    const answer = await answerTo(honest, commitOf(newSession('kept', 2), 'old'));
    expect(answer).toMatchObject({ t: 'commit-refused', id: 'kept', epoch: 2, code: 'stale_epoch' });
    expect(count('replication_refused_stale_epoch_total')).toBe(refused + 1);
  });

  it('a replica that nobody could go on with is refused at its take-over and harms nobody', async () => {
    isKeptBefore = await replicasOf('c');
    const intruder = await openReplication('b');
    await until(() => intruder.heard.length > 0);
    await answerTo(intruder, commitOf(newSession('junk', 1, Buffer.from('no opening')), 'x'));
    // All others are still told of, in a list of everything.
    expect((await peer.ask({ t: 'replicas' })).replicas).toMatchObject([
      { id: 'kept', owner: 'c', flow },
      { id: 'junk', owner: 'b' },
    ]);
    const request = { t: 'take-over', moveId: 'm1', owner: 'b', sessionId: 'junk', epoch: 2 } as const;
    await expect(peer.ask(request)).rejects.toThrow();
    intruder.close();
  });
});

describe('a full buddy', () => {
  it('refuses new sessions by name and keeps its promises to the old', async () => {
    isKeptBefore = undefined;
    const crowd = await openReplication('b');
    await until(() => crowd.heard.length > 0);
    const refused = count('replication_refused_no_capacity_total');
    const kept: OwnerSession[] = [];
    for (let i = 0; ; i++) {
      const owner = newSession(`crowd${i}`, 1);
      owner.produced(Buffer.alloc(20_000, i));
      const commit = commitOf(owner, 'x');
      const answer = await answerTo(crowd, commit);
      if (answer['t'] === 'commit-refused') {
        expect(answer).toEqual({ t: 'commit-refused', id: `crowd${i}`, epoch: 1, n: 1, code: 'no_capacity' });
        break;
      }
      kept.push(owner);
      expect(kept.length).toBeLessThan(boundBytes / 20_000);
    }
    expect(kept.length).toBeGreaterThan(5);
    expect(count('replication_refused_no_capacity_total')).toBe(refused + 1);
    // Those it has go on, whatever the bound says: each was promised a replica.
    for (const owner of kept) await store(crowd, commitOf(owner, 'y'.repeat(2000)));
    await store(honest, commitOf(session, 'z'.repeat(2000)));
    // Room again: new ones are taken again.
    for (const i of kept.keys()) await answerTo(crowd, { t: 'forget', id: `crowd${i}`, epoch: 1 });
    await store(crowd, commitOf(newSession('late', 1), 'x'));
    crowd.close();
  });
});
