/**
 * Tells the access point once a period how this endpoint and its sessions are. While the link is down nothing is told and
 * counting goes on: the first message afterwards covers the whole time.
 */
import { type Clock, type Counters, RestitchError } from '@restitch/core';
import type { EndpointMetrics, FromEndpoint, TelemetryOrder } from '@restitch/wire/internal';
import { type Counted, SessionRows } from './session-rows.js';
import { SystemSampler } from './system-sampler.js';

/** What an application says of its own load, in its own unit (requests in hand, rows, players). */
export interface AppReport {
  readonly load?: number;
  /** The load at which it is full. */
  readonly capacity?: number;
}

/** What telemetry works with. */
export interface TelemetryDeps {
  readonly sessions: Iterable<Counted>;
  readonly count: () => number;
  readonly tell: (message: FromEndpoint) => void;
  /** Bytes the link has not got rid of. */
  readonly queuedBytes: () => number;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly sampler?: Pick<SystemSampler, 'sample' | 'close'>;
}

/** An application that has said nothing for so long has hung or forgotten: its figure is no longer one. */
const appReportLastsMs = 10_000;

/** With this much still queued the link is slower than the telemetry: a period is left out rather than piled up. */
const maxQueuedBytes = 1024 * 1024;

/** Measures and tells while the access point wants it. */
export class Telemetry {
  readonly #deps: TelemetryDeps;
  readonly #rows: SessionRows;
  #sampler: Pick<SystemSampler, 'sample' | 'close'> | undefined;
  #cancel: (() => void) | undefined;
  #seq = 0;
  #app: AppReport = {};
  #appAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: TelemetryDeps) {
    this.#deps = deps;
    this.#rows = new SessionRows(deps.sessions);
  }

  /** The application's own figures; they hold for 10 s. Throws `usage` for what is no number ≥ 0. */
  report(app: AppReport): void {
    for (const key of ['load', 'capacity'] as const) {
      const value = app[key];
      if (value === undefined || (Number.isFinite(value) && value >= 0)) continue;
      throw new RestitchError('usage', `report: ${key} is ${value}, expected a number of at least 0`);
    }
    this.#app = { ...app };
    this.#appAtMs = this.#deps.clock.monotonicMs();
  }

  /** The access point wants telemetry so, or none. */
  start(order: TelemetryOrder | undefined): void {
    this.stop();
    if (order === undefined) return;
    this.#sampler ??= this.#deps.sampler ?? new SystemSampler();
    this.#seq = 0;
    // A first sample gives the counters a past; a period later there is something to tell.
    this.#sampler.sample(this.#deps.clock.monotonicMs());
    this.#schedule(order);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  close(): void {
    this.stop();
    this.#sampler?.close();
    this.#sampler = undefined;
  }

  #schedule(order: TelemetryOrder): void {
    this.#cancel = this.#deps.clock.after(order.periodMs, () => {
      this.#schedule(order);
      this.#tell(order.maxSessions);
    });
  }

  #tell(maxSessions: number): void {
    const { clock, counters, count, tell, queuedBytes } = this.#deps;
    if (queuedBytes() > maxQueuedBytes) {
      counters.add('endpoint_telemetry_skipped_total');
      return;
    }
    const atMs = clock.monotonicMs();
    const metrics = this.#metrics(atMs);
    const sessions = this.#rows.take(atMs, maxSessions);
    this.#seq++;
    tell({ t: 'telemetry', atMs, seq: this.#seq, total: count(), metrics, sessions });
    counters.add('endpoint_telemetry_sent_total');
  }

  #metrics(atMs: number): EndpointMetrics {
    const isFresh = atMs - this.#appAtMs < appReportLastsMs;
    const { load, capacity } = isFresh ? this.#app : {};
    return {
      ...this.#sampler?.sample(atMs),
      sessions: this.#deps.count(),
      ...(load === undefined ? {} : { appLoad: load }),
      ...(capacity === undefined ? {} : { appCapacity: capacity }),
    };
  }
}
