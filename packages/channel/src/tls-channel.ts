/** A channel over an established TLS socket: frames in and out, one write a turn, one close. */
import type { TLSSocket } from 'node:tls';
import { type Counters, type Logger, RestitchError, toRestitchError } from '@restitch/core';
import type { Channel, PeerIdentity } from './contract.js';
import { createFrameParser, encodeFrame } from '@restitch/wire/internal';
import { countRefusal } from './refusals.js';

/** Up to here frames of one turn are copied into one buffer; a copy of more costs more than a second write. */
const joinedWriteBytes = 64 * 1024;

/** A peer that does not take our last bytes in this time is cut off. */
const closeGraceMs = 1000;

/** What a channel needs beside its socket. */
export interface TlsChannelOptions {
  readonly peer: PeerIdentity;
  readonly maxMessageBytes: number;
  /** Closed with `peer_lost` when nothing came or went for so long; 0 never. */
  readonly idleMs: number;
  readonly logger: Logger;
  readonly counters: Counters;
}

/** See `Channel`. Messages that arrive before the first `onMessage` wait, and the socket is not read meanwhile. */
export class TlsChannel implements Channel {
  readonly peer: PeerIdentity;
  readonly #socket: TLSSocket;
  readonly #options: TlsChannelOptions;
  readonly #parser;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #flushScheduled = false;
  #isUrgent = false;
  #messageListener: ((message: unknown) => void) | undefined;
  #closeListeners: Array<(reason: Error | undefined) => void> = [];
  #backlog: unknown[] = [];
  #state: 'open' | 'closing' | 'closed' = 'open';
  #reason: Error | undefined;

  constructor(socket: TLSSocket, options: TlsChannelOptions) {
    this.peer = options.peer;
    this.#socket = socket;
    this.#options = options;
    this.#parser = createFrameParser(options.maxMessageBytes);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    if (options.idleMs > 0)
      socket.setTimeout(options.idleMs, () => this.#abort(this.#lost('idle', 'fell silent')));
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => this.#ended());
    socket.on('error', (error) => {
      this.#reason ??= error instanceof RestitchError ? error : this.#lost('broken', 'broke', error);
    });
    socket.on('close', () => this.#finish());
  }

  get queuedBytes(): number {
    return this.#pendingBytes + this.#socket.writableLength;
  }

  send(message: object): void {
    if (this.#state !== 'open') return;
    let frame: readonly [Buffer, Buffer];
    try {
      frame = encodeFrame(message);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#pending.push(...frame);
    this.#pendingBytes += frame[0].length + frame[1].length;
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(() => {
      this.#flushScheduled = false;
      this.flush();
    });
  }

  sendUrgently(message: object): void {
    this.send(message);
    if (this.#isUrgent) return;
    this.#isUrgent = true;
    process.nextTick(() => {
      this.#isUrgent = false;
      this.flush();
    });
  }

  onMessage(listener: (message: unknown) => void): void {
    this.#messageListener = listener;
    if (this.#backlog.length > 0) process.nextTick(() => this.#drainBacklog());
  }

  onClose(listener: (reason: Error | undefined) => void): void {
    if (this.#state === 'closed') process.nextTick(() => listener(this.#reason));
    else this.#closeListeners.push(listener);
  }

  /** Sends what is queued, then ends the connection. */
  close(reason?: Error): void {
    if (this.#state !== 'open') return;
    this.#reason = reason;
    this.flush();
    this.#state = 'closing';
    this.#socket.end();
    const timer = setTimeout(() => this.#socket.destroy(), closeGraceMs);
    timer.unref();
    this.#socket.once('close', () => clearTimeout(timer));
  }

  /** Until the next `onMessage`, messages wait. */
  holdMessages(): void {
    this.#messageListener = undefined;
  }

  #take(chunk: Buffer): void {
    if (this.#state !== 'open') return;
    try {
      this.#parser.push(chunk, (message) => this.#dispatch(message));
      // Answers to what came are whole now: waiting for the turn's end would cost a round of the event loop.
      this.flush();
    } catch (error) {
      this.#refuse(error);
    }
  }

  #dispatch(message: unknown): void {
    if (this.#state !== 'open') return;
    if (this.#messageListener !== undefined && this.#backlog.length === 0) {
      this.#messageListener(message);
      return;
    }
    this.#backlog.push(message);
    this.#socket.pause();
  }

  #drainBacklog(): void {
    try {
      while (this.#backlog.length > 0 && this.#messageListener !== undefined && this.#state === 'open') {
        this.#messageListener(this.#backlog.shift());
      }
    } catch (error) {
      this.#refuse(error);
    }
    if (this.#backlog.length === 0) this.#socket.resume();
  }

  flush(): void {
    const frames = this.#pending;
    if (frames.length === 0 || this.#state !== 'open') return;
    const bytes = this.#pendingBytes;
    this.#pending = [];
    this.#pendingBytes = 0;
    if (bytes <= joinedWriteBytes) {
      this.#socket.write(Buffer.concat(frames, bytes));
      return;
    }
    this.#socket.cork();
    for (const frame of frames) this.#socket.write(frame);
    this.#socket.uncork();
  }

  #ended(): void {
    if (this.#state !== 'open') return;
    if (this.#parser.partialBytes === 0) {
      this.#reason = this.#lost('ended', 'ended');
      this.#state = 'closing';
      return;
    }
    this.#refuse(
      new RestitchError('message_invalid', `message ends after ${this.#parser.partialBytes} bytes`, {
        details: { reason: 'truncated' },
      }),
    );
  }

  /** The peer sent what it must not send: counted, said, and cut off at once. */
  #refuse(error: unknown): void {
    const refusal = toRestitchError(error);
    countRefusal(refusal, { ...this.#options, who: `${this.peer.role} ${this.peer.name}` });
    this.#abort(refusal);
  }

  #abort(reason: Error): void {
    if (this.#state === 'closed') return;
    this.#state = 'closing';
    this.#reason = reason;
    this.#socket.destroy();
  }

  #finish(): void {
    if (this.#state === 'closed') return;
    const wasOpen = this.#state === 'open';
    this.#state = 'closed';
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#backlog = [];
    if (wasOpen) this.#reason ??= this.#lost('ended', 'ended');
    const listeners = this.#closeListeners;
    this.#closeListeners = [];
    for (const listener of listeners) listener(this.#reason);
  }

  #lost(reason: string, what: string, cause?: Error): RestitchError {
    const { role, name } = this.peer;
    const why = cause === undefined ? '' : `: ${cause.message}`;
    return new RestitchError('peer_lost', `connection to ${role} ${name} ${what}${why}`, {
      details: { reason },
      cause,
    });
  }
}
