/** Channels over real TLS on loopback, with certificates of the development PKI. */
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import {
  type Channel,
  type ChannelListener,
  type ListenOptions,
  type OpenOptions,
  type TlsFiles,
  listenChannels,
  openChannel,
} from '@restitch/channel';
import { encodeFrame } from '@restitch/wire/internal';
import { type Counters, RestitchError, createCounters } from '@restitch/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type DevPki, createDevPki } from '../../packages/pki/src/dev-pki.js';

let directory: string;
let pki: DevPki;
let apFiles: TlsFiles;
let endpointFiles: TlsFiles;
let counters: Counters;
let logged: string;
let cleanups: Array<() => unknown>;

const logger = (() => {
  const keep = (fields: object, message: string): void => {
    logged += `${JSON.stringify(fields)} ${message}\n`;
  };
  return { debug: keep, info: keep, warn: keep, error: keep };
})();

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-channel-'));
  pki = await createDevPki(join(directory, 'pki'), { cluster: 'lab' });
  apFiles = await pki.issue('access-point', 'ap');
  endpointFiles = await pki.issue('endpoint', 'a');
});
afterAll(() => rmSync(directory, { recursive: true }));
beforeEach(() => {
  counters = createCounters();
  logged = '';
  cleanups = [];
});
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function listen(
  options: Partial<ListenOptions> = {},
): Promise<{ listener: ChannelListener; channels: Channel[] }> {
  const channels: Channel[] = [];
  const listener = await listenChannels({
    host: '127.0.0.1',
    port: 0,
    tls: apFiles,
    allow: ['endpoint'],
    maxMessageBytes: 1 << 20,
    logger,
    counters,
    onChannel: (channel) => void channels.push(channel),
    ...options,
  });
  cleanups.push(() => listener.close());
  return { listener, channels };
}

function open(listener: ChannelListener, options: Partial<OpenOptions> = {}): Promise<Channel> {
  return openChannel({
    host: '127.0.0.1',
    port: listener.port,
    tls: endpointFiles,
    expect: { role: 'access-point' },
    maxMessageBytes: 1 << 20,
    ...options,
  });
}

function closed(channel: Channel): Promise<Error | undefined> {
  return new Promise((resolve) => channel.onClose(resolve));
}

function nextMessages(channel: Channel, n: number): Promise<unknown[]> {
  const messages: unknown[] = [];
  return new Promise((resolve) =>
    channel.onMessage((message) => {
      messages.push(message);
      if (messages.length === n) resolve(messages);
    }),
  );
}

async function refusal(promise: Promise<unknown>): Promise<RestitchError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(RestitchError);
  return error as RestitchError;
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(what()).toBe(true);
}

/** The peer has ended the connection, with or without a word. */
function cutOff(socket: net.Socket): Promise<void> {
  socket.on('error', () => undefined);
  socket.resume();
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** A raw TLS client with the endpoint's certificate: authenticated, and free to send nonsense. */
async function rawPeer(listener: ChannelListener, files: TlsFiles = endpointFiles): Promise<tls.TLSSocket> {
  const socket = tls.connect({
    host: '127.0.0.1',
    port: listener.port,
    cert: readFileSync(files.certFile),
    key: readFileSync(files.keyFile),
    ca: readFileSync(files.caFile),
    checkServerIdentity: () => undefined,
  });
  cleanups.push(() => socket.destroy());
  socket.on('error', () => undefined);
  await once(socket, 'data');
  return socket;
}

describe('two parties of one cluster', () => {
  it('know each other by their certificates and exchange messages in order', async () => {
    const { listener, channels } = await listen({
      onChannel: (channel) => {
        channels.push(channel);
        channel.onMessage((message) => channel.send({ t: 'echo', message }));
      },
    });
    const channel = await open(listener, { expect: { role: 'access-point', name: 'ap' } });
    expect(channel.peer).toEqual({ cluster: 'lab', role: 'access-point', name: 'ap' });
    expect(channels[0]?.peer).toEqual({ cluster: 'lab', role: 'endpoint', name: 'a' });
    const sent = Array.from({ length: 500 }, (_, i) => ({ t: 'x', i }));
    const answers = nextMessages(channel, sent.length);
    for (const message of sent) channel.send(message);
    expect(await answers).toEqual(sent.map((message) => ({ t: 'echo', message })));
    const gone = closed(channels[0] as Channel);
    channel.close();
    expect(await gone).toMatchObject({ code: 'peer_lost' });
    expect(await closed(channel)).toBeUndefined();
    channel.send({ t: 'late' });
    expect(channel.queuedBytes).toBe(0);
  });

  it('get messages that came before anybody listened', async () => {
    const { listener } = await listen({
      onChannel: (channel) => {
        for (let i = 0; i < 3; i++) channel.send({ i });
        setTimeout(() => channel.send({ i: 3 }), 20);
      },
    });
    const channel = await open(listener);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await nextMessages(channel, 4)).toEqual([{ i: 0 }, { i: 1 }, { i: 2 }, { i: 3 }]);
  });

  it('move 32 MiB in one message', async () => {
    const maxMessageBytes = 40 << 20;
    const { listener, channels } = await listen({ maxMessageBytes });
    const channel = await open(listener, { maxMessageBytes });
    const image = Buffer.alloc(32 << 20, 7);
    image[image.length - 1] = 9;
    const received = nextMessages(channels[0] as Channel, 1);
    channel.send({ t: 'image', image });
    expect(channel.queuedBytes).toBeGreaterThan(image.length);
    const [message] = (await received) as [{ image: Uint8Array }];
    expect(image.equals(message.image)).toBe(true);
  });

  it('deliver what was sent before close', async () => {
    const { listener, channels } = await listen();
    const channel = await open(listener);
    const received = nextMessages(channels[0] as Channel, 2);
    channel.send({ n: 1 });
    channel.send({ n: 2 });
    channel.close();
    expect(await received).toEqual([{ n: 1 }, { n: 2 }]);
  });

  it('send all messages of one turn in one record', async () => {
    const { listener, channels } = await listen();
    const socket = await rawPeer(listener);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    for (let i = 0; i < 10; i++) channels[0]?.send({ i });
    await until(
      () => Buffer.concat(chunks).length === 10 * Buffer.concat(encodeFrame({ i: 0 }).slice()).length,
    );
    expect(chunks).toHaveLength(1);
  });
});

describe('who is refused', () => {
  it('a peer of another authority, on both sides', async () => {
    const foreign = await createDevPki(join(directory, 'foreign'), { cluster: 'lab' });
    const stranger = await foreign.issue('endpoint', 'a');
    const { listener } = await listen();
    expect(await refusal(open(listener, { tls: stranger }))).toMatchObject({ code: 'not_authenticated' });
    // The stranger who trusts us still is refused by us.
    const trusting = { ...stranger, caFile: pki.caFile };
    expect(await refusal(open(listener, { tls: trusting }))).toMatchObject({
      code: 'not_authenticated',
      details: { peerReason: 'unknown_authority' },
    });
    expect(counters.get('channel_refused_unknown_authority_total')).toBe(1);
    expect(counters.get('channel_accepted_total')).toBe(0);
  });

  it('a known peer of the wrong role', async () => {
    const { listener, channels } = await listen();
    const operator = await pki.issue('operator', 'op');
    expect(await refusal(open(listener, { tls: operator }))).toMatchObject({ code: 'forbidden' });
    expect(counters.get('channel_refused_wrong_role_total')).toBe(1);
    expect(channels).toHaveLength(0);
  });

  it('a listener of the wrong role or name, by the one who dials', async () => {
    const { listener } = await listen();
    const mine = createCounters();
    expect(await refusal(open(listener, { expect: { role: 'endpoint' }, counters: mine }))).toMatchObject({
      code: 'forbidden',
      details: { reason: 'wrong_role' },
    });
    const other = { role: 'access-point', name: 'other' } as const;
    expect(await refusal(open(listener, { expect: other, counters: mine }))).toMatchObject({
      code: 'forbidden',
    });
    expect(mine.get('channel_refused_wrong_role_total')).toBe(1);
    expect(mine.get('channel_refused_wrong_name_total')).toBe(1);
  });

  it('an expired certificate', async () => {
    const expired = await pki.issue('endpoint', 'old', { validDays: -1 });
    const { listener } = await listen();
    expect(await refusal(open(listener, { tls: expired }))).toMatchObject({ code: 'not_authenticated' });
    expect(counters.get('channel_refused_certificate_expired_total')).toBe(1);
  });

  it('no certificate at all', async () => {
    const { listener } = await listen();
    const socket = tls.connect({ host: '127.0.0.1', port: listener.port, rejectUnauthorized: false });
    cleanups.push(() => socket.destroy());
    await cutOff(socket);
    expect(counters.get('channel_refused_no_certificate_total')).toBe(1);
  });

  it('TLS 1.2', async () => {
    const { listener } = await listen();
    const socket = tls.connect({
      host: '127.0.0.1',
      port: listener.port,
      maxVersion: 'TLSv1.2',
      rejectUnauthorized: false,
    });
    cleanups.push(() => socket.destroy());
    await cutOff(socket);
    expect(counters.get('channel_refused_tls_version_total')).toBe(1);
  });

  it.each([
    ['HTTP', 'GET / HTTP/1.1\r\n\r\n'],
    ['a frame without TLS', Buffer.concat([...encodeFrame({ t: 'hello' })])],
  ])('plaintext: %s', async (_what, bytes) => {
    const { listener } = await listen();
    const socket = net.connect(listener.port, '127.0.0.1');
    cleanups.push(() => socket.destroy());
    socket.write(bytes);
    await cutOff(socket);
    expect(counters.get('channel_refused_not_tls_total')).toBe(1);
  });

  it('a peer that never finishes its handshake', async () => {
    const { listener } = await listen({ handshakeMs: 50 });
    const socket = net.connect(listener.port, '127.0.0.1');
    cleanups.push(() => socket.destroy());
    await cutOff(socket);
    expect(counters.get('channel_refused_handshake_timeout_total')).toBe(1);
  });

  it('a crowd that says nothing, and lets honest peers through it', async () => {
    const { listener } = await listen();
    const crowd = Array.from({ length: 300 }, () => net.connect(listener.port, '127.0.0.1'));
    for (const socket of crowd) {
      cleanups.push(() => socket.destroy());
      socket.on('error', () => undefined);
    }
    await until(() => counters.get('channel_refused_too_many_handshakes_total') === 300 - 256);
    expect((await open(listener)).peer.name).toBe('ap');
  });

  it('more known peers than it takes, until there is room', async () => {
    const { listener, channels } = await listen({ maxConnections: 1 });
    const first = await open(listener);
    expect(await refusal(open(listener))).toMatchObject({ code: 'no_capacity', retryable: true });
    expect(counters.get('channel_refused_too_many_connections_total')).toBe(1);
    const gone = closed(channels[0] as Channel);
    first.close();
    await gone;
    await open(listener);
  });

  it('a listener that never answers, with the deadline named', async () => {
    const silent = net.createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    cleanups.push(() => silent.close());
    const { port } = silent.address() as net.AddressInfo;
    const error = await refusal(
      open({ host: '127.0.0.1', port, close: async () => undefined }, { handshakeMs: 50 }),
    );
    expect(error).toMatchObject({ code: 'deadline_exceeded', retryable: true });
  });

  it('nobody there', async () => {
    const { listener } = await listen();
    await listener.close();
    expect(await refusal(open(listener))).toMatchObject({
      code: 'peer_lost',
      retryable: true,
      details: { reason: 'nobody_listens' },
    });
  });

  it('its own wish, by signal', async () => {
    const { listener } = await listen();
    const controller = new AbortController();
    const opening = open(listener, { signal: controller.signal });
    controller.abort(new RestitchError('closed', 'given up'));
    expect(await refusal(opening)).toMatchObject({ code: 'closed' });
  });
});

describe('an authenticated peer that sends nonsense', () => {
  it.each([
    ['oversize', Buffer.from([0x7f, 0xff, 0xff, 0xff])],
    ['malformed', Buffer.from([0, 0, 0, 3, 0xd4, 0x72, 0x40])],
  ])('is cut off and counted: %s', async (reason, bytes) => {
    const { listener, channels } = await listen();
    const socket = await rawPeer(listener);
    socket.write(bytes);
    expect(await closed(channels[0] as Channel)).toMatchObject({
      code: 'message_invalid',
      details: { reason },
    });
    expect(counters.get(`channel_refused_${reason}_total`)).toBe(1);
    await until(() => socket.destroyed || socket.readyState === 'closed');
  });

  it('is counted when it stops in the middle of a message', async () => {
    const { listener, channels } = await listen();
    const socket = await rawPeer(listener);
    socket.end(Buffer.concat([...encodeFrame({ t: 'hello' })]).subarray(0, 7));
    expect(await closed(channels[0] as Channel)).toMatchObject({ code: 'message_invalid' });
    expect(counters.get('channel_refused_truncated_total')).toBe(1);
  });

  it('is cut off with the code its reader throws, and nothing of it is shown', async () => {
    const { listener, channels } = await listen({
      onChannel: (channel) => {
        channels.push(channel);
        channel.onMessage(() => {
          throw new RestitchError('stale_epoch', 'epoch 3 has ended');
        });
      },
    });
    const channel = await open(listener);
    channel.send({ t: 'activate', secret: 'session-bytes' });
    channel.send({ t: 'second' });
    expect(await closed(channels[0] as Channel)).toMatchObject({ code: 'stale_epoch' });
    expect(await closed(channel)).toMatchObject({ code: 'peer_lost' });
    expect(counters.get('channel_refused_stale_epoch_total')).toBe(1);
    expect(logged).toContain('stale_epoch');
    expect(logged).not.toContain('session-bytes');
  });

  it('does not disturb other channels', async () => {
    const { listener, channels } = await listen();
    const good = await open(listener);
    const socket = await rawPeer(listener);
    socket.write(Buffer.alloc(100, 0xff));
    await closed(channels[1] as Channel);
    const received = nextMessages(channels[0] as Channel, 1);
    good.send({ still: 'here' });
    expect(await received).toEqual([{ still: 'here' }]);
  });

  it('is closed when it falls silent, if that is asked for', async () => {
    const { listener, channels } = await listen({ idleMs: 50 });
    await open(listener);
    expect(await closed(channels[0] as Channel)).toMatchObject({
      code: 'peer_lost',
      details: { reason: 'idle' },
    });
  });
});

describe('rotation', () => {
  function copyInto(target: TlsFiles, from: TlsFiles): void {
    copyFileSync(from.certFile, target.certFile);
    copyFileSync(from.keyFile, target.keyFile);
    copyFileSync(from.caFile, target.caFile);
  }

  it('uses new files for new connections and leaves open ones alone', async () => {
    const live: TlsFiles = {
      certFile: join(directory, 'live.crt'),
      keyFile: join(directory, 'live.key'),
      caFile: join(directory, 'live-ca.crt'),
    };
    copyInto(live, apFiles);
    const { listener, channels } = await listen({ tls: live });
    const before = await open(listener);

    const next = await createDevPki(join(directory, 'next'), { cluster: 'lab' });
    copyInto(live, await next.issue('access-point', 'ap'));
    const nextEndpoint = await next.issue('endpoint', 'a');

    await open(listener, { tls: nextEndpoint });
    expect(await refusal(open(listener))).toMatchObject({ code: 'not_authenticated' });
    expect(counters.get('channel_certificates_reread_total')).toBe(1);
    const received = nextMessages(channels[0] as Channel, 1);
    before.send({ old: 'connection' });
    expect(await received).toEqual([{ old: 'connection' }]);
  });

  it('lets one authority take over from another, both in one file meanwhile', async () => {
    const next = await createDevPki(join(directory, 'successor'), { cluster: 'lab' });
    const both = join(directory, 'both.crt');
    writeFileSync(both, `${readFileSync(pki.caFile, 'utf8')}${readFileSync(next.caFile, 'utf8')}`);
    const { listener } = await listen({ tls: { ...apFiles, caFile: both } });
    const nextEndpoint = { ...(await next.issue('endpoint', 'a')), caFile: both };
    expect((await open(listener)).peer.name).toBe('ap');
    expect((await open(listener, { tls: nextEndpoint })).peer.name).toBe('ap');
  });

  it('cannot be escaped by resuming a session of the time before', async () => {
    const { listener } = await listen();
    const options = {
      host: '127.0.0.1',
      port: listener.port,
      cert: readFileSync(endpointFiles.certFile),
      key: readFileSync(endpointFiles.keyFile),
      ca: readFileSync(endpointFiles.caFile),
      checkServerIdentity: () => undefined,
    };
    const first = tls.connect(options);
    cleanups.push(() => first.destroy());
    let session: Buffer | undefined;
    first.on('session', (ticket: Buffer) => {
      session = ticket;
    });
    await once(first, 'data');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const again = tls.connect({ ...options, ...(session === undefined ? {} : { session }) });
    cleanups.push(() => again.destroy());
    await once(again, 'data');
    expect(again.isSessionReused()).toBe(false);
  });

  it('goes on with the last good files while new ones cannot be used', async () => {
    const live: TlsFiles = {
      certFile: join(directory, 'half.crt'),
      keyFile: join(directory, 'half.key'),
      caFile: apFiles.caFile,
    };
    copyFileSync(apFiles.certFile, live.certFile);
    copyFileSync(apFiles.keyFile, live.keyFile);
    const { listener } = await listen({ tls: live });
    writeFileSync(live.keyFile, 'not a key');
    await open(listener);
    await open(listener);
    expect(counters.get('channel_certificates_unusable_total')).toBe(1);
    expect(logged).not.toContain('not a key');
  });

  it('refuses to start with files it cannot use', async () => {
    expect(await refusal(listen({ tls: { ...apFiles, keyFile: endpointFiles.keyFile } }))).toMatchObject({
      code: 'config_invalid',
    });
  });
});
