/** Somebody who talks to a control or state listener without being who they should be, or with things they should not say. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { type Channel, type PeerRole, type TlsFiles, openChannel } from '@restitch/channel';
import { encodeFrame } from '@restitch/wire/internal';

/** Where an attack goes. */
export interface Prey {
  readonly port: number;
  /** Who answers there, to an honest party. */
  readonly role: PeerRole;
}

/** An authenticated connection, closed by the other side sooner or later. */
export async function speakTo(prey: Prey, files: TlsFiles): Promise<Speaker> {
  const channel = await openChannel({
    host: '127.0.0.1',
    port: prey.port,
    tls: files,
    expect: { role: prey.role },
    maxMessageBytes: 1 << 20,
  });
  return new Speaker(channel);
}

/** Says things and waits for what comes of them. */
export class Speaker {
  readonly #channel: Channel;
  readonly heard: Array<{ readonly t: string }> = [];
  readonly closed: Promise<Error | undefined>;

  constructor(channel: Channel) {
    this.#channel = channel;
    channel.onMessage((message) => void this.heard.push(message as { t: string }));
    this.closed = new Promise((resolve) => channel.onClose(resolve));
  }

  say(...messages: object[]): this {
    for (const message of messages) this.#channel.send(message);
    return this;
  }

  close(): void {
    this.#channel.close();
  }
}

/** Connects with these files and options and waits until it is cut off. */
export async function tryTls(prey: Prey, options: tls.ConnectionOptions): Promise<void> {
  const socket = tls.connect({ host: '127.0.0.1', port: prey.port, rejectUnauthorized: false, ...options });
  await cutOff(socket);
}

/** Writes bytes without TLS and waits until it is cut off. */
export async function tryPlain(prey: Prey, bytes: Uint8Array | string): Promise<void> {
  const socket = net.connect(prey.port, '127.0.0.1');
  socket.write(bytes);
  await cutOff(socket);
}

/** An authenticated TLS connection on which raw bytes can be written past the channel. */
export async function openRaw(prey: Prey, files: TlsFiles): Promise<tls.TLSSocket> {
  const socket = tls.connect({
    host: '127.0.0.1',
    port: prey.port,
    rejectUnauthorized: false,
    ...pem(files),
  });
  socket.on('error', () => undefined);
  await once(socket, 'data');
  return socket;
}

/** Key and certificate as node:tls takes them. */
export function pem(files: TlsFiles): { cert: Buffer; key: Buffer; ca: Buffer } {
  return {
    cert: readFileSync(files.certFile),
    key: readFileSync(files.keyFile),
    ca: readFileSync(files.caFile),
  };
}

/** Resolves when the other side has ended the connection. */
export function cutOff(socket: net.Socket): Promise<void> {
  socket.on('error', () => undefined);
  socket.resume();
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** The bytes an honest party sent through a relay, for playing them again. */
export async function recordBytes(prey: Prey, files: TlsFiles, messages: readonly object[]): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const relay = net.createServer((inner) => {
    const outer = net.connect(prey.port, '127.0.0.1');
    inner.on('data', (chunk: Buffer) => chunks.push(chunk));
    inner.pipe(outer).pipe(inner);
    for (const end of [inner, outer]) end.on('error', () => undefined);
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const socket = await openRaw({ ...prey, port: (relay.address() as net.AddressInfo).port }, files);
  for (const message of messages) for (const part of encodeFrame(message)) socket.write(part);
  await new Promise<void>((resolve) => socket.end(resolve));
  await new Promise((resolve) => relay.close(resolve));
  return Buffer.concat(chunks);
}
