/**
 * The inner net.Socket that carries a session's bytes while it lives in this process.
 *
 * One batch of bytes is in flight at a time: then what libuv has not written is exactly the batch's last
 * `writeQueueSize` bytes, and nothing of the session's output hides in the inner socket's own buffer.
 */
import { Socket } from 'node:net';
import { RestitchError } from '@restitch/core';
import { closeFd, duplicateFd } from '@restitch/sys';
import { unreadBytes } from '@restitch/sys/internal';
import { endOutput, keepDescriptor } from '../tcp/closing-socket.js';
import { getSocketHandle, watchLastMoments } from './node-handle.js';
import { lastBytes } from './unread-ledger.js';

/** What the carrier tells the session that owns it. */
export interface CarrierEvents {
  /** Bytes in order; false stops them until `resume`. */
  onData(chunk: Buffer): boolean;
  onEnd(): void;
  onError(error: Error): void;
  /** The connection is not over, though Node is through with it: a descriptor of it, the session's from now on. Before `onClose`. */
  onKept(fd: number): void;
  /** Our FIN is about to leave. */
  onEnding(): void;
  onClose(): void;
  onTimeout(): void;
}

/** What is left when a carrier has let go of its connection. */
export interface DetachedCarrier {
  /** A descriptor of the connection, owned by the caller; the inner socket no longer knows it. */
  readonly fd: number;
  /** Read from the kernel, not yet given to the session. */
  readonly undelivered: readonly Uint8Array[];
  /** Tail of the batch in flight that the kernel has not taken. */
  readonly unwritten: readonly Uint8Array[];
}

/** Called when a batch has been taken by the kernel, or with the error that ended the connection. */
export type WriteDone = (error?: Error | null) => void;

const nothing = new Uint8Array();

/** One connection in this process. */
export class Carrier {
  readonly socket: Socket;
  /** A reset, which the session sees to, stands in the place of our FIN. */
  endsByReset = false;
  readonly #events: CarrierEvents;
  #inFlight: readonly Uint8Array[] = [];
  #collected: Uint8Array[] | undefined;
  #isDetached = false;
  #isResetting = false;

  constructor(socket: Socket, events: CarrierEvents) {
    this.socket = socket;
    this.#events = events;
    watchLastMoments(socket, {
      beforeEnd: () => this.#beforeEnd(),
      beforeClose: () => this.#beforeClose(),
    });
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    const unlessDetached =
      <A extends unknown[]>(tell: (...args: A) => void) =>
      (...args: A): void => {
        if (!this.#isDetached) tell(...args);
      };
    socket.on(
      'end',
      unlessDetached(() => events.onEnd()),
    );
    socket.on(
      'error',
      unlessDetached((error: Error) => events.onError(error)),
    );
    socket.on(
      'close',
      unlessDetached(() => events.onClose()),
    );
    socket.on(
      'timeout',
      unlessDetached(() => events.onTimeout()),
    );
  }

  /** Number of the descriptor, for inspection only; −1 once closed. */
  get fd(): number {
    return getSocketHandle(this.socket)?.fd ?? -1;
  }

  /** True while a connection hangs on it. */
  get isAttached(): boolean {
    return !this.#isDetached && !this.socket.destroyed && this.fd >= 0;
  }

  /** Lets data flow. */
  resume(): void {
    if (!this.#isDetached && this.socket.isPaused()) this.socket.resume();
  }

  /** Writes one batch. The caller waits for `done` before the next. */
  write(batch: readonly Uint8Array[], done: WriteDone): void {
    this.#inFlight = batch;
    const last = batch.length - 1;
    const finish: WriteDone = (error) => {
      if (this.#isDetached) return;
      this.#inFlight = [];
      done(error);
    };
    if (last > 0) this.socket.cork();
    batch.forEach((chunk, i) => this.socket.write(chunk, i === last ? finish : undefined));
    if (last > 0) this.socket.uncork();
  }

  /** Sends the FIN after the last batch. */
  end(done: () => void): void {
    const finish = (): void => {
      if (!this.#isDetached) done();
    };
    if (this.endsByReset) this.socket.write(nothing, finish);
    else this.socket.end(finish);
  }

  /** The kernel has input that nobody has read, and our FIN is not sent. */
  get hasUnread(): boolean {
    return this.isAttached && !this.socket.writableEnded && unreadBytes(this.fd) > 0;
  }

  /** True if `destroy` leaves output behind that is still to be given to the kernel: the session stays attached until then. */
  get isLasting(): boolean {
    return false;
  }

  /**
   * Closes the connection as net.Socket does: what the kernel has is delivered, with our FIN behind it. The descriptor is
   * kept (`onKept`) until it is.
   */
  destroy(): void {
    this.letGo();
  }

  /** Node's part is over. */
  letGo(): void {
    this.socket.destroy();
  }

  /** Closes the connection with RST. */
  reset(): void {
    this.#isResetting = true;
    this.socket.resetAndDestroy();
  }

  /** Leaves the connection to the kernel, which finishes it without anybody's help. */
  abandon(): void {
    this.#isResetting = true;
    this.socket.destroy();
  }

  /** Reads no more. */
  stopReading(): void {
    this.socket.pause();
    getSocketHandle(this.socket)?.readStop();
  }

  /** What must be known of `fd` before its FIN leaves; all that was written is in the kernel. */
  protected ending(_fd: number): void {}

  /**
   * Takes the connection away from Node without a packet. Synchronous. The order is the point: first a second
   * descriptor (the only step that can fail), then what Node has read, then what libuv has not written, and only then
   * is libuv's descriptor (with its pending write and shutdown) closed. Throws `freeze_failed` if the connection has
   * ended, `syscall_failed` if there is no descriptor left; the carrier then goes on.
   */
  detach(): DetachedCarrier {
    const handle = getSocketHandle(this.socket);
    if (handle === undefined || this.#isDetached) {
      throw new RestitchError('freeze_failed', 'the connection ended before it could be frozen');
    }
    const fd = duplicateFd(handle.fd);
    this.#collected = [];
    while (this.socket.read() !== null);
    handle.readStop();
    const unwritten = lastBytes(this.#inFlight, handle.writeQueueSize);
    this.#isDetached = true;
    this.socket.destroy();
    return { fd, undelivered: this.#collected, unwritten };
  }

  #beforeEnd(): void {
    if (this.#isDetached || this.fd < 0) return;
    this.ending(this.fd);
    this.#events.onEnding();
  }

  #beforeClose(): void {
    if (this.#isDetached || this.#isResetting) return;
    const fd = keepDescriptor(this.fd);
    // Without a descriptor to keep (EMFILE too) the kernel goes on with it alone, as ever.
    if (fd === undefined) return;
    if (!this.endsByReset) {
      if (!this.socket.writableFinished) this.ending(fd);
      endOutput(fd);
    }
    this.#events.onKept(fd);
  }

  #onData(chunk: Buffer): void {
    if (this.#collected !== undefined) this.#collected.push(chunk);
    else if (!this.#isDetached && !this.#events.onData(chunk)) this.socket.pause();
  }
}

/**
 * A descriptor as a net.Socket that never ends by itself; takes ownership, also when it throws because Node does not
 * take it.
 */
export function adoptSocket(fd: number): Socket {
  try {
    const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    socket.pause();
    return socket;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}
