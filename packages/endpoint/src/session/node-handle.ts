/**
 * The private Node handles that a freeze needs, and the only place that touches them.
 *
 * Node has no public way to a socket's descriptor, to stopping its reads at once, or to what libuv has not yet written.
 * All three have been there unchanged since Node 10; they are probed on the listening handle (same class) before the
 * first session is accepted, so that a Node without them fails at start and not in the middle of a move.
 */
import type { Server, Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { RestitchError } from '@restitch/core';

/** What is used of `TCPWrap` (node: src/tcp_wrap.cc, src/stream_base.cc). */
export interface SocketHandle {
  /** Descriptor number, −1 after close. */
  readonly fd: number;
  /** Bytes handed to libuv that write(2) has not taken. */
  readonly writeQueueSize: number;
  /** Stops reading at once; 0 or a negative errno. */
  readStop(): number;
}

const oldestMajor = 20;
const newestMajor = 26;

/** Throws `unsupported_node` unless this Node is 20..26 and the listening server's handle has what a freeze needs. */
export function assertNodeSupported(server: Server, nodeVersion = process.versions.node): void {
  const major = Number(nodeVersion.split('.')[0]);
  const handle = rawHandle(server);
  if (!(major >= oldestMajor && major <= newestMajor)) {
    throw new RestitchError(
      'unsupported_node',
      `Node.js ${nodeVersion} is not among ${oldestMajor}..${newestMajor}, for which moving sessions was tested`,
      { details: { node: nodeVersion } },
    );
  }
  if (!isSocketHandle(handle)) {
    throw new RestitchError(
      'unsupported_node',
      `Node.js ${nodeVersion} does not have _handle.fd, _handle.readStop and _handle.writeQueueSize`,
      { details: { node: nodeVersion } },
    );
  }
}

/** The handle of an open socket; undefined once it is closed. */
export function getSocketHandle(socket: Socket): SocketHandle | undefined {
  const handle = rawHandle(socket);
  return isSocketHandle(handle) && handle.fd >= 0 ? handle : undefined;
}

/**
 * True if a TLSSocket reads this stream: its keys and half-read records are not in the stream's position. node:tls puts
 * a private JSStreamSocket between, which shows only in the source of its listener (lib/internal/js_stream_socket.js).
 */
export function isUnderTls(stream: Readable): boolean {
  return stream.listeners('data').some((listener) => listener.toString().includes('.readBuffer('));
}

/** What is run at the two moments that Node tells nobody of. */
export interface LastMoments {
  /** Everything written has been taken by the kernel, and the FIN is about to follow. */
  readonly beforeEnd: () => void;
  /** The descriptor is about to be closed; nothing has been sent because of that. */
  readonly beforeClose: () => void;
}

interface StreamInternals {
  _final(done: (error?: Error | null) => void): void;
  _destroy(error: Error | null, done: (error: Error | null) => void): void;
}

/**
 * Runs `moments` in the socket's own `_final` and `_destroy`, the two methods through which node:stream reaches every end
 * of a socket: behind them there is neither a last byte to wait for nor a descriptor to keep.
 */
export function watchLastMoments(socket: Socket, moments: LastMoments): void {
  const own = socket as unknown as StreamInternals;
  const { _final: final, _destroy: destroy } = own;
  own._final = (done) => {
    moments.beforeEnd();
    final.call(own, done);
  };
  own._destroy = (error, done) => {
    moments.beforeClose();
    destroy.call(own, error, done);
  };
}

function rawHandle(owner: object): unknown {
  return (owner as { readonly _handle?: unknown })._handle;
}

function isSocketHandle(handle: unknown): handle is SocketHandle {
  if (typeof handle !== 'object' || handle === null) return false;
  const h = handle as Partial<SocketHandle>;
  return typeof h.fd === 'number' && typeof h.writeQueueSize === 'number' && typeof h.readStop === 'function';
}
