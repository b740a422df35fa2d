/**
 * One unmodified TCP client: it knows an address and a port, and nothing of restitch.
 *
 * Subclasses say what is sent and how what comes back is checked; this part connects, counts and reads the socket.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { RestitchError } from '@restitch/core';
import type { ClientReport, ClientSpec } from './driver-messages.js';
import { monotonicMs } from './monotonic.js';
import { SampleLog } from './sample-log.js';
import { readRtoCount } from './socket-rtos.js';

/** Longest a connection may take to open. */
const connectMs = 10_000;

/** A client session; all clients of a driver share one clock and one pump. */
export abstract class ClientSession {
  readonly spec: ClientSpec;
  readonly socket: Socket;
  readonly samples = new SampleLog();
  sentBytes = 0;
  resets = 0;
  trouble: string | undefined;
  #brokenBy: string | undefined;
  #openedAtMs = 0;
  #closedAtMs = 0;
  #local = { address: '', port: 0 };
  #rtos = 0;
  /** Of the handshake: a first SYN may wait for a neighbour to be found, which no move has to do with. */
  #openingRtos = 0;
  #isFinishing = false;
  readonly #rtoAtMs: number[] = [];

  constructor(spec: ClientSpec) {
    this.spec = spec;
    this.socket = connect({
      host: spec.address,
      port: spec.port,
      noDelay: true,
      ...(spec.localAddress === undefined ? {} : { localAddress: spec.localAddress }),
      ...(spec.localPort === undefined ? {} : { localPort: spec.localPort }),
    });
    this.socket.on('data', (bytes: Buffer) => this.onBytes(bytes));
    this.socket.on('error', (error: NodeJS.ErrnoException) =>
      this.#onBroken(error.message, error.code ?? 'error'),
    );
    this.socket.on('close', () => {
      this.#closedAtMs = monotonicMs();
      if (!this.#isFinishing && this.resets === 0) this.#onBroken('the server closed the connection', 'end');
    });
  }

  /** Resolves when the connection stands. */
  async open(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(this.#refused(`no connection within ${connectMs} ms`)),
        connectMs,
      );
      this.socket.once('connect', () => {
        clearTimeout(timer);
        resolve();
      });
      this.socket.once('error', (error) => {
        clearTimeout(timer);
        reject(this.#refused(error.message));
      });
    });
    this.#openingRtos = readRtoCount(this.socket);
    this.#openedAtMs = monotonicMs();
    this.#local = { address: this.socket.localAddress ?? '', port: this.socket.localPort ?? 0 };
  }

  /** The local end. */
  get local(): { readonly address: string; readonly port: number } {
    return this.#local;
  }

  /** Retransmission timeouts of the socket so far. */
  get rtos(): number {
    return this.#rtos;
  }

  /** True while the connection stands. */
  get isOpen(): boolean {
    return this.#openedAtMs > 0 && this.#closedAtMs === 0;
  }

  /** Reads the socket's own count; called now and then, so that a rise has a time. */
  pollRtos(): void {
    if (!this.isOpen) return;
    const count = readRtoCount(this.socket) - this.#openingRtos;
    for (let i = this.#rtos; i < count; i++) this.#rtoAtMs.push(monotonicMs());
    this.#rtos = Math.max(this.#rtos, count);
  }

  /** Nothing is outstanding any more. */
  abstract get isDrained(): boolean;
  /** How long the oldest unanswered bytes have waited. */
  abstract staleMs(nowMs: number): number;
  /** Sends what is due at `nowMs`. */
  abstract pump(nowMs: number): void;
  /** Takes what came. */
  protected abstract onBytes(bytes: Buffer): void;
  /** Received and wrong bytes. */
  abstract tally(): Pick<ClientReport, 'receivedBytes' | 'mismatchedBytes' | 'lostBytes' | 'duplicatedBytes'>;

  /** Ends the session in order and says how it went; what is outstanding counts as lost. */
  finish(): ClientReport {
    this.pollRtos();
    const isCut = !this.isOpen;
    this.#isFinishing = true;
    const tally = this.tally();
    const missing = Math.max(
      0,
      this.sentBytes - tally.receivedBytes - tally.lostBytes + tally.duplicatedBytes,
    );
    if (missing > 0) this.trouble ??= `${missing} bytes were not answered`;
    this.socket.end();
    return {
      tag: this.spec.tag,
      kind: this.spec.kind,
      localAddress: this.#local.address,
      localPort: this.#local.port,
      sentBytes: this.sentBytes,
      ...tally,
      lostBytes: tally.lostBytes + missing,
      resets: this.resets,
      rtos: this.#rtos,
      openedAtMs: this.#openedAtMs,
      closedAtMs: isCut ? this.#closedAtMs : monotonicMs(),
      rtoAtMs: this.#rtoAtMs,
      ...(this.#brokenBy === undefined ? {} : { brokenBy: this.#brokenBy }),
      ...(this.trouble === undefined ? {} : { trouble: this.trouble }),
      samples: this.samples.toArray(),
    };
  }

  #onBroken(message: string, by: string): void {
    if (this.#isFinishing) return;
    this.resets++;
    this.#brokenBy ??= by;
    this.trouble ??= `after ${this.sentBytes} bytes sent: ${message}`;
  }

  #refused(message: string): RestitchError {
    const { address, port, tag } = this.spec;
    return new RestitchError('peer_lost', `client ${tag}: connect to ${address} port ${port}: ${message}`);
  }
}
