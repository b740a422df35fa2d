/**
 * The control connection: dialled by the endpoint, kept for ever, and never needed for serving.
 *
 * Sessions opened and ended in one turn of the event loop travel in one message: at thousands of connections a second
 * a message each would cost more than the sessions.
 */
import { randomUUID } from 'node:crypto';
import { type Channel, Redial, type TlsFiles, openChannel } from '@restitch/channel';
import { type Clock, type Counters, type Logger, RestitchError } from '@restitch/core';
import {
  type FromEndpoint,
  type SessionReport,
  type TelemetryOrder,
  type ToEndpoint,
  assertVersion,
  parseMessage,
  protocolVersion,
  toEndpointSchema,
} from '@restitch/wire/internal';

type Hello = Extract<FromEndpoint, { t: 'hello' }>;
type Ended = Extract<FromEndpoint, { t: 'ended' }>['sessions'][number];

/** Sessions in one announce, opened or ended message; the schema allows 4096. */
const chunkSessions = 2048;

const redialPauses = { firstMs: 50, longestMs: 2000 };

/** Control messages are small; the largest is a query of 4096 flows. */
const maxControlMessageBytes = 4 * 1024 * 1024;

/** What the link is told to do and tells. */
export interface ControlLinkOptions {
  readonly accessPoint: { readonly host: string; readonly port: number };
  readonly tls: TlsFiles;
  readonly hello: () => Omit<Hello, 't' | 'protocol' | 'instance'>;
  /** All sessions, for announcing. */
  readonly reports: () => SessionReport[];
  readonly onRequest: (message: Exclude<ToEndpoint, { t: 'welcome' }>) => void;
  /** Welcomed; `telemetry`: what the access point wants to be told, undefined for nothing. */
  readonly onUp: (accessPoint: string, telemetry: TelemetryOrder | undefined) => void;
  readonly onDown: (reason: Error | undefined) => void;
  readonly vitals: () => { sessions: number; eventLoopDelayMs: number };
  /** Figures that stand for the moment, sent beside the counters. */
  readonly gauges?: () => Readonly<Record<string, number>>;
  /** A heartbeat of this number leaves. */
  readonly onBeat?: (n: number) => void;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly random?: () => number;
}

/** One endpoint process's connection to its access point. */
export class ControlLink {
  readonly #options: ControlLinkOptions;
  #instance = randomUUID();
  #channel: Channel | undefined;
  #isClosed = false;
  #isWelcome = false;
  #isDialling = false;
  #toldFailure: string | undefined;
  /** The connection is closed only to say hello anew. */
  #isRefreshing = false;
  #cancelTimer: () => void = () => undefined;
  readonly #dialling = new AbortController();
  #opened: SessionReport[] = [];
  #ended: Ended[] = [];
  #isFlushing = false;
  #beats = 0;
  #leavingUntilMs: number | undefined;

  readonly #redial: Redial;

  constructor(options: ControlLinkOptions) {
    this.#options = options;
    const { random } = options;
    this.#redial = new Redial({ ...redialPauses, ...(random === undefined ? {} : { random }) });
  }

  /** True while the access point has welcomed this endpoint. */
  get isUp(): boolean {
    return this.#isWelcome;
  }

  /** Bytes the connection has not got rid of. */
  get queuedBytes(): number {
    return this.#channel?.queuedBytes ?? 0;
  }

  /** Random per process, and new after a fence. */
  get instance(): string {
    return this.#instance;
  }

  /** The access point has given up the instance this was: come back as another one. */
  renewInstance(): void {
    this.#instance = randomUUID();
    this.refresh();
  }

  /** Dials, or says hello anew on a new connection; failures are retried until `close`. */
  refresh(): void {
    if (this.#channel === undefined) this.#start();
    else {
      this.#isRefreshing = true;
      this.#channel.close(new RestitchError('closed', 'listeners changed'));
    }
  }

  /** Sends a message if the link is up; what happens while it is down is told by the next announce. */
  tell(message: FromEndpoint): void {
    this.#flush();
    if (this.#isWelcome) this.#channel?.send(message);
  }

  /** As `tell`, for what the client waits for. */
  tellUrgently(message: FromEndpoint): void {
    this.#flush();
    if (this.#isWelcome) this.#channel?.sendUrgently(message);
  }

  /** As `tell`, but leaves before this call returns. */
  tellNow(message: FromEndpoint): void {
    this.tell(message);
    this.#channel?.flush();
  }

  opened(report: SessionReport): void {
    if (!this.#isWelcome) return;
    this.#opened.push(report);
    this.#flushSoon();
  }

  ended(ended: Ended): void {
    if (!this.#isWelcome) return;
    this.#ended.push(ended);
    this.#flushSoon();
  }

  /** The process is about to leave, or stays after all; told again to an access point that comes back. */
  leaving(on: boolean, deadlineMs: number): void {
    const untilMs = this.#options.clock.monotonicMs() + deadlineMs;
    this.#leavingUntilMs = on ? untilMs : undefined;
    this.tell({ t: 'leaving', on, deadlineMs });
  }

  /** Sends what is queued, closes, and stops dialling. */
  close(): void {
    this.#flush();
    this.#isClosed = true;
    this.#cancelTimer();
    this.#dialling.abort(new RestitchError('closed', 'the endpoint is closing'));
    this.#channel?.close();
  }

  #start(): void {
    if (this.#isClosed || this.#isDialling || this.#channel !== undefined) return;
    this.#isDialling = true;
    this.#cancelTimer();
    this.#dial().catch((error: unknown) => this.#options.logger.error({ err: error }, 'control link'));
  }

  async #dial(): Promise<void> {
    const { accessPoint, tls, counters, logger } = this.#options;
    try {
      const channel = await openChannel({
        host: accessPoint.host,
        port: accessPoint.port,
        tls,
        expect: { role: 'access-point' },
        maxMessageBytes: maxControlMessageBytes,
        signal: this.#dialling.signal,
        counters,
        logger,
      });
      this.#isDialling = false;
      if (this.#isClosed) return channel.close();
      this.#serve(channel);
    } catch (error) {
      this.#isDialling = false;
      if (this.#isClosed) return;
      counters.add('endpoint_control_dials_failed_total');
      const { code, message } = error as RestitchError;
      // Five times a second for as long as there is no daemon: once is enough.
      const level = message === this.#toldFailure ? 'debug' : 'warn';
      this.#toldFailure = message;
      logger[level]({ code }, `control connection: ${message}`);
      this.#retry(error);
    }
  }

  #serve(channel: Channel): void {
    const { hello, onDown } = this.#options;
    this.#channel = channel;
    channel.onClose((reason) => {
      const wasWelcome = this.#isWelcome;
      this.#channel = undefined;
      this.#isWelcome = false;
      this.#opened = [];
      this.#ended = [];
      this.#cancelTimer();
      if (wasWelcome) onDown(reason);
      if (!this.#isClosed) this.#retry(reason);
    });
    channel.onMessage((raw) => this.#onMessage(channel, raw));
    channel.send({ t: 'hello', protocol: protocolVersion, instance: this.#instance, ...hello() });
  }

  #onMessage(channel: Channel, raw: unknown): void {
    if (!this.#isWelcome) assertVersion(raw, channel.peer.name);
    const message = parseMessage(toEndpointSchema, raw, channel.peer.name);
    if (message.t !== 'welcome') {
      if (!this.#isWelcome) {
        throw new RestitchError(
          'message_invalid',
          `${channel.peer.name} sent ${message.t} before its welcome`,
        );
      }
      this.#options.onRequest(message);
      return;
    }
    if (this.#isWelcome)
      throw new RestitchError('message_invalid', `second welcome from ${channel.peer.name}`);
    this.#isWelcome = true;
    this.#redial.reached();
    this.#toldFailure = undefined;
    this.#announce(channel);
    this.#beat(channel, message.heartbeatMs);
    this.#options.counters.add('endpoint_control_connections_total');
    this.#options.onUp(message.accessPoint, message.telemetry);
    if (this.#leavingUntilMs === undefined) return;
    const leftMs = this.#leavingUntilMs - this.#options.clock.monotonicMs();
    this.tell({ t: 'leaving', on: true, deadlineMs: Math.max(0, leftMs) });
  }

  #announce(channel: Channel): void {
    const reports = this.#options.reports();
    let from = 0;
    do {
      const sessions = reports.slice(from, from + chunkSessions);
      from += chunkSessions;
      channel.send({ t: 'announce', sessions, last: from >= reports.length });
    } while (from < reports.length);
  }

  #beat(channel: Channel, everyMs: number): void {
    const { vitals, counters, clock } = this.#options;
    if (this.#channel !== channel) return;
    this.#beats = (this.#beats + 1) >>> 0;
    this.#options.onBeat?.(this.#beats);
    channel.send({
      t: 'heartbeat',
      n: this.#beats,
      ...vitals(),
      counters: { ...Object.fromEntries(counters.entries()), ...this.#options.gauges?.() },
    });
    this.#cancelTimer = clock.after(Math.max(10, everyMs), () => this.#beat(channel, everyMs));
  }

  #retry(reason: unknown): void {
    const waitMs = this.#isRefreshing ? 0 : this.#redial.pauseMs(reason);
    this.#isRefreshing = false;
    this.#cancelTimer = this.#options.clock.after(waitMs, () => this.#start());
  }

  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#isFlushing = false;
    const opened = this.#opened;
    const ended = this.#ended;
    if (opened.length > 0) this.#opened = [];
    if (ended.length > 0) this.#ended = [];
    for (let i = 0; i < opened.length; i += chunkSessions) {
      this.#channel?.send({ t: 'opened', sessions: opened.slice(i, i + chunkSessions) });
    }
    for (let i = 0; i < ended.length; i += chunkSessions) {
      this.#channel?.send({ t: 'ended', sessions: ended.slice(i, i + chunkSessions) });
    }
  }
}
