/**
 * Those who dial, against a peer whose first word is of another version; over real TLS or a unix socket. The same of those
 * who listen stands in hostile-peer.test.ts and hostile-replication.test.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Channel,
  type ChannelListener,
  type TlsFiles,
  listenChannels,
  openChannel,
} from '@restitch/channel';
import { type Logger, RestitchError, createCounters, silentLogger, systemClock } from '@restitch/core';
import { joinAgent } from '@restitch/guard/internal';
import { assertVersion } from '@restitch/wire/internal';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { EndpointLink } from '../../packages/access-point/src/model/endpoint-link.js';
import { ControlLink } from '../../packages/endpoint/src/control/control-link.js';
import { listenState } from '../../packages/endpoint/src/move/state-listener.js';
import { StatePool } from '../../packages/endpoint/src/move/state-pool.js';
import { ReplicationLink } from '../../packages/endpoint/src/protect/replication-link.js';
import { createDevPki } from '../../packages/pki/src/dev-pki.js';

let directory: string;
let files: Record<'ap' | 'a' | 'b', TlsFiles>;
const cleanups: Array<() => unknown> = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-versions-'));
  const pki = await createDevPki(join(directory, 'pki'), { cluster: 'test' });
  files = {
    ap: await pki.issue('access-point', 'ap'),
    a: await pki.issue('endpoint', 'a'),
    b: await pki.issue('endpoint', 'b'),
  };
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Listens as `as`, hears the first message of each connection and answers it. */
async function answering(
  as: 'ap' | 'b',
  answer: object,
): Promise<{ readonly port: number; readonly heard: object[] }> {
  const heard: object[] = [];
  const listener = await listenChannels({
    host: '127.0.0.1',
    port: 0,
    tls: files[as],
    allow: ['endpoint'],
    maxMessageBytes: 65_536,
    onChannel: (channel) =>
      channel.onMessage((message) => {
        if (heard.push(message as object) === 1) channel.send(answer);
      }),
  });
  cleanups.push(() => listener.close());
  return { port: listener.port, heard };
}

/** What became of a dialler: it is up, or why not. */
type Outcome = 'up' | RestitchError;

function controlLink(port: number): Promise<Outcome> {
  return new Promise((resolve) => {
    let wasUp = false;
    const counters = createCounters();
    const link = new ControlLink({
      accessPoint: { host: '127.0.0.1', port },
      tls: files.a,
      hello: () => ({
        name: 'a',
        app: { name: 'echo', version: '1' },
        stateAddress: { address: '127.0.0.1', port: 1 },
        dataAddress: '127.0.0.1',
        listeners: [],
        features: [],
      }),
      reports: () => [],
      onRequest: () => undefined,
      onUp: () => {
        wasUp = true;
        resolve('up');
      },
      onDown: () => undefined,
      vitals: () => ({ sessions: 0, eventLoopDelayMs: 0 }),
      clock: systemClock,
      counters,
      logger: refusalsTo((error) => !wasUp && resolve(error)),
    });
    cleanups.push(() => link.close());
    link.refresh();
  });
}

async function statePool(port: number): Promise<Outcome> {
  const pool = new StatePool({
    name: 'a',
    tls: files.a,
    maxMessageBytes: 65_536,
    clock: systemClock,
    counters: createCounters(),
    logger: silentLogger,
  });
  cleanups.push(() => pool.close());
  try {
    await pool.open({ name: 'b', address: { address: '127.0.0.1', port } });
    return 'up';
  } catch (error) {
    return (error as Error).cause as RestitchError;
  }
}

function replicationLink(port: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const link = new ReplicationLink({
      name: 'a',
      tls: files.a,
      maxMessageBytes: 65_536,
      peer: { name: 'b', instance: 'i', stateAddress: { address: '127.0.0.1', port }, labels: {} },
      onUp: () => resolve('up'),
      onMessage: () => undefined,
      clock: systemClock,
      counters: createCounters(),
      logger: refusalsTo(resolve),
    });
    cleanups.push(() => link.close());
  });
}

/** What a channel refuses it logs, with its code. */
function refusalsTo(take: (error: RestitchError) => unknown): Logger {
  const look = (fields: object, message: string): void => {
    const { code } = fields as { code?: RestitchError['code'] };
    if (code === 'version_unsupported') take(new RestitchError(code, message));
  };
  return { debug: look, info: look, warn: look, error: look };
}

const later = { later: 'a key of a newer minor' };

describe.each([
  ['the control connection', controlLink, 'ap', { t: 'welcome', heartbeatMs: 500, accessPoint: 'ap' }],
  ['a state connection', statePool, 'b', { t: 'state-welcome', name: 'b' }],
  ['a replication connection', replicationLink, 'b', { t: 'state-welcome', name: 'b' }],
] as const)('%s', (_what, dial, as, welcome) => {
  it('says its own version first', async () => {
    const { port, heard } = await answering(as, welcome);
    expect(await dial(port)).toBe('up');
    expect(heard[0]).toMatchObject({ protocol: { major: 1, minor: expect.any(Number) } });
  });

  it('takes a welcome without a version, and one of another minor', async () => {
    for (const more of [{}, { protocol: { major: 1, minor: 77 }, ...later }]) {
      const { port } = await answering(as, { ...welcome, ...more });
      expect(await dial(port)).toBe('up');
    }
  });

  it('refuses another major by name, whatever the rest of the welcome is', async () => {
    const { port } = await answering(as, { t: welcome.t, protocol: { major: 2, minor: 4 } });
    const outcome = await dial(port);
    expect(outcome).toMatchObject({ code: 'version_unsupported' });
    expect((outcome as Error).message).toMatch(/(ap|b) speaks protocol 2\.4, this build 1\./);
  });
});

describe('who is refused for its version', () => {
  async function heardBy(port: number, role: 'access-point' | 'endpoint', hello: object): Promise<unknown> {
    const tls = files.a;
    const channel = await openChannel({
      host: '127.0.0.1',
      port,
      tls,
      expect: { role },
      maxMessageBytes: 65_536,
    });
    const heard = new Promise((resolve) => channel.onMessage(resolve));
    channel.send(hello);
    return heard;
  }

  async function listening(): Promise<ChannelListener> {
    const greet = (channel: Channel): unknown =>
      new EndpointLink(channel, systemClock, { onEvent: () => undefined, onClose: () => undefined });
    return listenChannels({
      host: '127.0.0.1',
      port: 0,
      tls: files.ap,
      allow: ['endpoint'],
      maxMessageBytes: 65_536,
      onChannel: greet,
    });
  }

  it('hears ours, by which it can say so itself', async () => {
    const accessPoint = await listening();
    const state = await listenState({
      name: 'b',
      host: '127.0.0.1',
      port: 0,
      tls: files.b,
      maxMessageBytes: 65_536,
      takeImage: () => undefined,
      counters: createCounters(),
      logger: silentLogger,
    });
    cleanups.push(
      () => accessPoint.close(),
      () => state.close(),
    );
    const protocol = { major: 2, minor: 0 };
    const told = await heardBy(accessPoint.port, 'access-point', { t: 'hello', protocol });
    expect(told).toMatchObject({ t: 'welcome', protocol: { major: 1 } });
    expect(() => assertVersion(told, 'ap')).not.toThrow();
    const toldByB = await heardBy(state.port, 'endpoint', { t: 'state-hello', protocol });
    expect(toldByB).toMatchObject({ t: 'state-welcome', protocol: { major: 1 } });
  });
});

describe('an application at its host agent', () => {
  async function agent(answer: object): Promise<{ readonly path: string; readonly heard: string[] }> {
    const path = join(directory, `agent-${cleanups.length}-${Math.random()}.sock`);
    const heard: string[] = [];
    const server: Server = createServer((socket) => {
      socket.on('data', (data) => {
        heard.push(data.toString());
        socket.write(`${JSON.stringify(answer)}\n`);
      });
      socket.on('error', () => undefined);
      cleanups.push(() => socket.destroy());
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    cleanups.push(() => server.close());
    return { path, heard };
  }
  const who = { name: 'a', instance: 'i1' };
  const joined = { t: 'joined', lease: 1, pinDirectory: '/x' };

  it('says its version, and takes an agent of before', async () => {
    const { path, heard } = await agent(joined);
    const membership = await joinAgent(path, who);
    expect(membership.lease).toBe(1);
    membership.close();
    expect(JSON.parse(heard[0] ?? '')).toMatchObject({ t: 'join', protocol: { major: 1 }, ...who });
  });

  it('refuses an agent of another major by name', async () => {
    const { path } = await agent({ ...joined, protocol: { major: 2, minor: 0 } });
    await expect(joinAgent(path, who)).rejects.toMatchObject({
      code: 'version_unsupported',
      message: expect.stringContaining('speaks protocol 2.0'),
    });
  });

  it('passes on why it is refused', async () => {
    const { path } = await agent({
      t: 'refused',
      code: 'version_unsupported',
      message: 'you speak 1.1, I 2.0',
    });
    await expect(joinAgent(path, who)).rejects.toMatchObject({ code: 'version_unsupported' });
    const old = await agent({ t: 'refused', message: 'no' });
    await expect(joinAgent(old.path, who)).rejects.toMatchObject({ code: 'forbidden' });
  });
});
