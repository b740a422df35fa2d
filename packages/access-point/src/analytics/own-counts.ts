/**
 * The access point's own counts, against which an endpoint's word is checked.
 *
 * With direct return only the way from the client passes by, so requests and bytes in can be bounded, bytes out cannot. An
 * honest endpoint never exceeds the bound: each byte of payload it read was a byte that BPF counted before.
 */
import type { Clock, Counters } from '@restitch/core';
import type { SessionTelemetry } from '@restitch/wire/internal';
import type { Dataplane } from '@restitch/dataplane';
import type { OwnCounts } from '@restitch/analytics';
import type { Endpoint } from '../model/endpoint-registry.js';
import type { Session } from '../model/session-registry.js';

/** What the counts are read with. */
export interface OwnCountsDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly dataplane: Dataplane;
}

/** All endpoints' sums are one read of one map; asked for by each message, it is read this often at most. */
const readEveryMs = 200;

/** Rows of a message whose flow is looked up, the heaviest: what the others claim together is bounded by the sums. */
const checkedRows = 128;

/** What a socket may have had in its buffer when the records were made anew (tcp_rmem's usual maximum is 6 MiB). */
const slackBytes = 8 * 1024 * 1024;

/** Pipelined requests that fit a packet: the smallest sensible one is 16 bytes. */
const requestsPerPacket = 96;

interface Claimed {
  bytesIn: number;
  requests: number;
}

/** Reads counts and holds claims against them. */
export class OwnCountsReader {
  readonly #deps: OwnCountsDeps;
  readonly #claimed = new WeakMap<Session, Claimed>();
  #sums = new Map<number, OwnCounts>();
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: OwnCountsDeps) {
    this.#deps = deps;
  }

  /** What was forwarded to an endpoint since the maps were made. */
  of(endpoint: Endpoint): OwnCounts {
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - this.#readAtMs >= readEveryMs) {
      this.#readAtMs = nowMs;
      this.#sums = new Map(
        this.#deps.dataplane
          .stats()
          .endpoints.map((e) => [e.endpointId, { bytes: Number(e.bytes), packets: Number(e.packets) }]),
      );
    }
    return this.#sums.get(endpoint.id) ?? { bytes: 0, packets: 0 };
  }

  /** The rows, those that claim more than their flow can have carried cut to that. `session` finds a row's session. */
  bound(
    rows: readonly SessionTelemetry[],
    session: (row: SessionTelemetry) => Session | undefined,
  ): SessionTelemetry[] {
    const suspects = heaviest(rows, checkedRows);
    return rows.map((row) => {
      const known = session(row);
      if (known === undefined) return row;
      const claimed = this.#claimed.get(known) ?? { bytesIn: 0, requests: 0 };
      const allowed = suspects.has(row) ? this.#allow(known, claimed) : undefined;
      const bytesIn = Math.min(row.bytesIn, allowed?.bytesIn ?? row.bytesIn);
      const requests = Math.min(row.requests, allowed?.requests ?? row.requests);
      claimed.bytesIn += bytesIn;
      claimed.requests += requests;
      this.#claimed.set(known, claimed);
      if (bytesIn === row.bytesIn && requests === row.requests) return row;
      this.#deps.counters.add('telemetry_contradicted_total');
      return { ...row, bytesIn, requests };
    });
  }

  #allow(session: Session, claimed: Claimed): Claimed | undefined {
    const record = this.#deps.dataplane.lookup(session.flow);
    if (record === undefined) return undefined;
    const packets = Number(record.packets) + slackBytes / 1460;
    return {
      bytesIn: Math.max(0, Number(record.bytes) + slackBytes - claimed.bytesIn),
      requests: Math.max(0, packets * requestsPerPacket - claimed.requests),
    };
  }
}

function heaviest(rows: readonly SessionTelemetry[], count: number): ReadonlySet<SessionTelemetry> {
  if (rows.length <= count) return new Set(rows);
  const weight = (row: SessionTelemetry): number => row.bytesIn + 1000 * row.requests;
  return new Set([...rows].sort((a, b) => weight(b) - weight(a)).slice(0, count));
}
