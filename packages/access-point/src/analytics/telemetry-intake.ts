/**
 * Takes endpoints' telemetry: judges it, orders it, sets it on the access point's own clock, and notices silence.
 *
 * An endpoint's word is worth what can be checked: it speaks of its own sessions only, one message a period, and a clock
 * that jumped makes all its rates wrong, so that message counts as not sent. Silence becomes "unknown", never "idle".
 */
import type { Clock, Counters, Logger } from '@restitch/core';
import { readTelemetry } from '@restitch/wire/internal';
import type {
  EndpointMetrics,
  SessionTelemetry,
  TelemetryMessage,
  TelemetryOrder,
} from '@restitch/wire/internal';
import type { Endpoint } from '../model/endpoint-registry.js';
import { isThrough } from '../model/session-registry.js';
import type { SessionRegistry } from '../model/session-registry.js';
import type { AnalyticsSink } from './sink.js';
import type { OwnCountsReader } from './own-counts.js';

/** What the intake works with. */
export interface TelemetryIntakeDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly sessions: SessionRegistry;
  readonly sink: AnalyticsSink;
  /** What endpoints are asked for; undefined: nothing. */
  readonly order: () => TelemetryOrder | undefined;
  readonly ownCounts: OwnCountsReader;
  /** Where a client is, for the rows; undefined: unknown. */
  readonly locationOf?: (address: string) => string | undefined;
}

/** What is known of an endpoint by its telemetry, for people. */
export interface TelemetryView {
  /** none: it has never sent any. silent: it sent, and stopped. */
  readonly state: 'fresh' | 'silent' | 'none';
  readonly ageMs?: number;
  readonly metrics?: EndpointMetrics;
}

/** Periods without a message after which an endpoint's figures are unknown: one may be late, two may be lost to a stall. */
const silentPeriods = 3;

/** Messages that may come at once after a stall, and how many come in a period at most. */
const burst = 5;
const refillPerPeriod = 2;

/** An endpoint's clock may run ahead of ours between two messages by this much: a stall of the network, then a burst. */
const maxAheadMs = 5000;

interface Heard {
  seq: number;
  sentAtMs: number;
  receivedAtMs: number;
  allowance: number;
  isSilent: boolean;
  metrics: EndpointMetrics;
}

/** Takes telemetry of all endpoints. */
export class TelemetryIntake {
  readonly #deps: TelemetryIntakeDeps;
  readonly #heard = new Map<Endpoint, Heard>();
  #cancel: (() => void) | undefined;

  constructor(deps: TelemetryIntakeDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { clock, order } = this.#deps;
    this.#cancel = clock.after(order()?.periodMs ?? 1000, () => {
      this.#noticeSilence();
      this.start();
    });
  }

  close(): void {
    this.#cancel?.();
  }

  /** The endpoint has a new connection: its messages count from 1 again, perhaps on another clock. */
  greeted(endpoint: Endpoint): void {
    const heard = this.#heard.get(endpoint);
    if (heard === undefined) return;
    heard.seq = 0;
    heard.sentAtMs = Number.NaN;
  }

  /** One message from an endpoint. */
  take(endpoint: Endpoint, message: TelemetryMessage): void {
    const { clock, counters, sink, ownCounts } = this.#deps;
    const nowMs = clock.monotonicMs();
    const heard = this.#heardOf(endpoint, nowMs);
    if (!this.#isDue(heard, nowMs, message)) return;
    const { metrics, sessions, total, refused } = readTelemetry(message);
    if (refused > 0) counters.add('telemetry_figures_refused_total', refused);
    heard.metrics = metrics;
    heard.isSilent = false;
    counters.add('telemetry_taken_total');
    sink.push({ kind: 'endpoint', atMs: nowMs, endpoint: endpoint.name, metrics });
    sink.push({
      kind: 'sessions',
      atMs: nowMs,
      endpoint: endpoint.name,
      total,
      sessions: this.#own(endpoint, sessions),
      ownCounts: ownCounts.of(endpoint),
    });
  }

  /** What is known of an endpoint now. */
  viewOf(endpoint: Endpoint): TelemetryView {
    const heard = this.#heard.get(endpoint);
    if (heard === undefined) return { state: 'none' };
    const ageMs = this.#deps.clock.monotonicMs() - heard.receivedAtMs;
    return { state: heard.isSilent ? 'silent' : 'fresh', ageMs, metrics: heard.metrics };
  }

  #heardOf(endpoint: Endpoint, nowMs: number): Heard {
    const known = this.#heard.get(endpoint);
    if (known !== undefined) return known;
    const heard: Heard = {
      seq: 0,
      sentAtMs: Number.NaN,
      receivedAtMs: nowMs,
      allowance: burst,
      isSilent: true,
      metrics: {},
    };
    this.#heard.set(endpoint, heard);
    return heard;
  }

  /** False for a message that is old, one too many, or on a clock that jumped. */
  #isDue(heard: Heard, nowMs: number, { seq, atMs }: TelemetryMessage): boolean {
    const { counters, order } = this.#deps;
    const period = order()?.periodMs;
    if (period === undefined) return false;
    if (seq <= heard.seq) {
      counters.add('telemetry_late_total');
      return false;
    }
    const passedMs = nowMs - heard.receivedAtMs;
    heard.allowance = Math.min(burst, heard.allowance + (passedMs * refillPerPeriod) / period);
    heard.seq = seq;
    heard.receivedAtMs = nowMs;
    const sentGapMs = atMs - heard.sentAtMs;
    heard.sentAtMs = atMs;
    if (heard.allowance < 1) {
      counters.add('telemetry_flooded_total');
      return false;
    }
    heard.allowance--;
    if (sentGapMs < 0 || sentGapMs > passedMs + maxAheadMs) {
      counters.add('telemetry_clock_jumps_total');
      return false;
    }
    return true;
  }

  #own(endpoint: Endpoint, reported: readonly SessionTelemetry[]): SessionTelemetry[] {
    const { sessions, counters, ownCounts } = this.#deps;
    const own = reported.filter((row) => sessions.byId(row.id)?.owner === endpoint);
    // A session that ended or moved a moment ago is no lie: counted, not punished.
    if (own.length < reported.length) {
      counters.add('telemetry_foreign_sessions_total', reported.length - own.length);
    }
    // What only delivers its rest is no load worth moving.
    const open = own.filter((row) => {
      const session = sessions.byId(row.id);
      return session !== undefined && !isThrough(session);
    });
    const bounded = ownCounts.bound(open, (row) => sessions.byId(row.id));
    return bounded.map((row) => this.#describe(row, sessions.byId(row.id)?.flow.client.address ?? ''));
  }

  #describe(row: SessionTelemetry, client: string): SessionTelemetry {
    const location = this.#deps.locationOf?.(client);
    return location === undefined ? { ...row, client } : { ...row, client, location };
  }

  #noticeSilence(): void {
    const { clock, order, sink, logger, counters } = this.#deps;
    const patienceMs = silentPeriods * (order()?.periodMs ?? 0);
    const nowMs = clock.monotonicMs();
    for (const [endpoint, heard] of this.#heard) {
      if (heard.isSilent || nowMs - heard.receivedAtMs < patienceMs) continue;
      heard.isSilent = true;
      heard.metrics = {};
      counters.add('telemetry_silences_total');
      logger.warn({ endpoint: endpoint.name }, 'telemetry has stopped: its load is unknown');
      sink.push({ kind: 'endpoint', atMs: nowMs, endpoint: endpoint.name, metrics: {} });
    }
  }
}
