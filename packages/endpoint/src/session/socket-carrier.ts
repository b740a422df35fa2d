/**
 * The carrier that stands on the kernel's own connection, by the net.Socket that Node made of it.
 *
 * One batch of bytes is in flight at a time: then what libuv has not written is exactly the batch's last
 * `writeQueueSize` bytes, and nothing of the session's output hides in the inner socket's own buffer.
 */
import { Socket } from 'node:net';
import { RestitchError } from '@restitch/core';
import { closeFd, duplicateFd } from '@restitch/sys';
import { unreadBytes } from '@restitch/sys/internal';
import { endOutput, keepDescriptor } from '../tcp/closing-socket.js';
import type { Carrier, CarrierEvents, DetachedCarrier, WriteDone } from './carrier.js';
import { getSocketHandle, watchLastMoments } from './node-handle.js';
import { lastBytes } from './unread-ledger.js';

const nothing = new Uint8Array();

/** A connection of the kernel in this process. */
export class SocketCarrier implements Carrier {
  readonly socket: Socket;
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

  get fd(): number {
    return getSocketHandle(this.socket)?.fd ?? -1;
  }

  get isAttached(): boolean {
    return !this.#isDetached && !this.socket.destroyed && this.fd >= 0;
  }

  resume(): void {
    if (!this.#isDetached && this.socket.isPaused()) this.socket.resume();
  }

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

  end(done: () => void): void {
    const finish = (): void => {
      if (!this.#isDetached) done();
    };
    if (this.endsByReset) this.socket.write(nothing, finish);
    else this.socket.end(finish);
  }

  get hasUnread(): boolean {
    return this.isAttached && !this.socket.writableEnded && unreadBytes(this.fd) > 0;
  }

  get isLasting(): boolean {
    return false;
  }

  destroy(): void {
    this.letGo();
  }

  letGo(): void {
    this.socket.destroy();
  }

  reset(): void {
    this.#isResetting = true;
    this.socket.resetAndDestroy();
  }

  abandon(): void {
    this.#isResetting = true;
    this.socket.destroy();
  }

  stopReading(): void {
    this.socket.pause();
    getSocketHandle(this.socket)?.readStop();
  }

  /** What must be known of `fd` before its FIN leaves; all that was written is in the kernel. */
  protected ending(_fd: number): void {}

  /**
   * The order is the point: first a second descriptor (the only step that can fail), then what Node has read, then what
   * libuv has not written, and only then is libuv's descriptor (with its pending write and shutdown) closed.
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
