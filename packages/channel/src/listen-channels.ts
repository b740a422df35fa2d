/**
 * The listening side: verifies the peer by its certificate, says accepted or refused, and hands out channels.
 *
 * Verification runs after the handshake and in our own code (`rejectUnauthorized: false` and then `authorized`), because
 * node:tls would otherwise cut the connection without a word, and an operator could not tell a wrong authority from
 * a network that is down.
 */
import type { AddressInfo } from 'node:net';
import { type Server, type TLSSocket, createServer } from 'node:tls';
import { type Counters, type Logger, RestitchError, createCounters, silentLogger } from '@restitch/core';
import type { Channel, PeerRole, TlsFiles } from './contract.js';
import { type Admission, encodeFrame } from '@restitch/wire/internal';
import { assertPeerAllowed, certificateIdentity } from './identity.js';
import { countRefusal, handshakeError, verificationError } from './refusals.js';
import { TlsChannel } from './tls-channel.js';
import { createTlsMaterialSource } from './tls-material.js';
import { createWaitingRoom } from './waiting-room.js';

/** A handshake takes 4 ms of CPU and a few round trips; ten seconds serve the worst path and bound a silent peer. */
export const defaultHandshakeMs = 10_000;

/** More connections than any cluster has parties; beyond, even known peers are refused. */
const defaultMaxConnections = 4096;

/** Handshakes at the same time: a second's worth of them on one core. */
const maxHandshakes = 256;

/** What `listenChannels` needs. */
export interface ListenOptions {
  readonly host: string;
  /** 0 lets the kernel choose; see `ChannelListener.port`. */
  readonly port: number;
  readonly tls: TlsFiles;
  /** Roles that may connect. */
  readonly allow: readonly PeerRole[];
  readonly maxMessageBytes: number;
  /** Called for each accepted peer; set `onMessage` and `onClose` in it. */
  readonly onChannel: (channel: Channel) => void;
  readonly handshakeMs?: number;
  /** Channels on which nothing came or went for so long are closed; never by default. */
  readonly idleMs?: number;
  /** Accepted channels at the same time, 4096 by default; unauthenticated connections are bounded apart. */
  readonly maxConnections?: number;
  readonly logger?: Logger;
  readonly counters?: Counters;
}

/** A listening socket and its channels. */
export interface ChannelListener {
  readonly host: string;
  readonly port: number;
  /** Stops listening and closes every channel. */
  close(): Promise<void>;
}

/** Listens. Throws `config_invalid` for unusable TLS files, `syscall_failed` if the address cannot be had. */
export async function listenChannels(options: ListenOptions): Promise<ChannelListener> {
  const { logger = silentLogger, counters = createCounters(), handshakeMs = defaultHandshakeMs } = options;
  const source = createTlsMaterialSource(options.tls, { logger, counters });
  let material = source.current();
  const server = createServer({
    ...material.options,
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: handshakeMs,
  });
  const sockets = new Set<{ destroy(): void }>();
  const channels = new Set<TlsChannel>();
  const waiting = createWaitingRoom(maxHandshakes, () =>
    counters.add('channel_refused_too_many_handshakes_total'),
  );
  server.prependListener('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    waiting.enter(socket);
    const newest = source.current();
    if (newest === material) return;
    material = newest;
    server.setSecureContext(newest.options);
  });
  server.on('tlsClientError', (error, socket) => {
    countRefusal(handshakeError(error), { logger, counters, who: String(socket.remoteAddress) });
    socket.destroy();
  });
  server.on('secureConnection', (socket) => {
    const isFull = channels.size >= (options.maxConnections ?? defaultMaxConnections);
    const { cluster } = material.identity;
    const channel = accept(socket, { ...options, logger, counters, cluster, isFull });
    if (channel === undefined) return;
    waiting.leave(socket);
    channels.add(channel);
    channel.onClose(() => channels.delete(channel));
    options.onChannel(channel);
  });
  const address = await listening(server, options);
  return {
    host: address.address,
    port: address.port,
    close: () => closeAll(server, channels, sockets),
  };
}

async function closeAll(
  server: Server,
  channels: ReadonlySet<TlsChannel>,
  sockets: ReadonlySet<{ destroy(): void }>,
): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const channel of channels) channel.close();
  if (channels.size > 0) await settled(channels);
  for (const socket of sockets) socket.destroy();
  await closed;
}

type AcceptOptions = ListenOptions & {
  readonly logger: Logger;
  readonly counters: Counters;
  readonly cluster: string;
  readonly isFull: boolean;
};

function accept(socket: TLSSocket, options: AcceptOptions): TlsChannel | undefined {
  socket.on('error', () => undefined);
  try {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) {
      throw new RestitchError('not_authenticated', 'the peer showed no certificate', {
        details: { reason: 'no_certificate' },
      });
    }
    if (!socket.authorized) throw verificationError(String(socket.authorizationError));
    const peer = certificateIdentity(certificate);
    const allowed = options.allow.map((role) => ({ role }));
    assertPeerAllowed(peer, options.cluster, allowed);
    if (options.isFull) {
      throw new RestitchError('no_capacity', 'as many connections as this listener takes', {
        details: { reason: 'too_many_connections' },
      });
    }
    const { maxMessageBytes, idleMs = 0, logger, counters } = options;
    const channel = new TlsChannel(socket, { peer, maxMessageBytes, idleMs, logger, counters });
    counters.add('channel_accepted_total');
    channel.send({ t: 'accepted' } satisfies Admission);
    return channel;
  } catch (error) {
    const refusal = error as RestitchError;
    countRefusal(refusal, { ...options, who: String(socket.remoteAddress) });
    const { code, details } = refusal;
    const why = typeof details['reason'] === 'string' ? { reason: details['reason'] } : {};
    const said: Admission = { t: 'refused', code, ...why };
    socket.end(Buffer.concat(encodeFrame(said)));
    // A refused peer that does not read its refusal must not hold a descriptor.
    setTimeout(() => socket.destroy(), 1000).unref();
    return undefined;
  }
}

function listening(server: Server, at: ListenOptions): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: Error & { code?: string }) =>
      reject(
        new RestitchError('syscall_failed', `listen ${at.host}:${at.port}: ${cause.code ?? cause.message}`, {
          cause,
        }),
      ),
    );
    server.listen({ host: at.host, port: at.port }, () => resolve(server.address() as AddressInfo));
  });
}

function settled(channels: ReadonlySet<TlsChannel>): Promise<unknown> {
  return Promise.all([...channels].map((c) => new Promise<void>((resolve) => c.onClose(() => resolve()))));
}
