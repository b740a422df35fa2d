/** What the laboratory and its client driver (a process in the client's namespace) say to each other. */

/** When a paced client is there and how fast it asks. Instants are CLOCK_MONOTONIC milliseconds. */
export interface ClientPace {
  readonly openAtMs: number;
  /** No request after it; the session ends when all are answered. Left out: until the driver's finish. */
  readonly closeAtMs?: number;
  /** Corners (instant, requests a second) of its rate, ascending; straight lines between them. */
  readonly rate: ReadonlyArray<readonly [number, number]>;
  /** Of the jitter between requests. */
  readonly seed: number;
}

/** One client session. */
export interface ClientSpec {
  /** Unique in the laboratory, at most 8 characters. */
  readonly tag: string;
  /**
   * line: numbered records on a fixed schedule. bulk: the echoed stream as fast as it goes, both ways. read: says its tag
   * and then only reads. paced: line with a rate that changes.
   */
  readonly kind: 'line' | 'bulk' | 'read' | 'paced';
  readonly address: string;
  readonly port: number;
  readonly localAddress?: string;
  readonly localPort?: number;
  /** Paced only. */
  readonly pace?: ClientPace;
  /** Bytes of a record. */
  readonly recordBytes: number;
  readonly recordsPerSec: number;
  /** Bulk only: bytes a second at most, 0 for no bound. */
  readonly bytesPerSec?: number;
  /** Bulk only: bytes sent and not yet echoed at most. */
  readonly maxAheadBytes?: number;
}

/** Laboratory → driver. */
export type ToDriver =
  | { readonly t: 'open'; readonly clients: readonly ClientSpec[] }
  /** Paced clients, opened and ended at their own instants. */
  | { readonly t: 'plan'; readonly clients: readonly ClientSpec[] }
  /** Stop sending, wait for what is outstanding at most `drainMs`, report, and end all sessions. */
  | { readonly t: 'finish'; readonly drainMs: number }
  /** End the process. */
  | { readonly t: 'exit' };

/** Sums over a driver's sessions, for live tables. */
export interface DriverTotals {
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly mismatchedBytes: number;
  readonly lostBytes: number;
  readonly duplicatedBytes: number;
  readonly resets: number;
  readonly rtos: number;
  readonly open: number;
  /** How long the oldest unanswered record of all open sessions has waited. */
  readonly stalestMs: number;
  /** Tags of sessions whose connection was reset or closed by the server. */
  readonly broken: readonly string[];
}

/** What became of one client session. */
export interface ClientReport {
  readonly tag: string;
  readonly kind: ClientSpec['kind'];
  readonly localAddress: string;
  readonly localPort: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly mismatchedBytes: number;
  readonly lostBytes: number;
  readonly duplicatedBytes: number;
  /** The connection ended by RST or any error. */
  readonly resets: number;
  /** tcpi_total_rto of the socket at its end. */
  readonly rtos: number;
  readonly openedAtMs: number;
  readonly closedAtMs: number;
  /** CLOCK_MONOTONIC milliseconds at which the socket's RTO count was seen to have risen. */
  readonly rtoAtMs: readonly number[];
  /** How the connection ended before its time: the error's code, or `end` for an orderly close. */
  readonly brokenBy?: string;
  /** What went wrong first, if anything did. */
  readonly trouble?: string;
  /** line: pairs (scheduled instant, latency). bulk, read: pairs (end of a pause, its length). Milliseconds, CLOCK_MONOTONIC. */
  readonly samples: Float64Array;
}

/** Driver → laboratory. */
export type FromDriver =
  | { readonly t: 'started' }
  | {
      readonly t: 'opened';
      readonly sessions: ReadonlyArray<{
        readonly tag: string;
        readonly localAddress: string;
        readonly localPort: number;
      }>;
    }
  | { readonly t: 'failed'; readonly message: string }
  | { readonly t: 'totals'; readonly totals: DriverTotals }
  | { readonly t: 'report'; readonly clients: readonly ClientReport[] };
