/**
 * Telemetry as it travels: what an endpoint measures of itself and its sessions, and what the access point answers.
 *
 * A figure that cannot be (NaN, negative, beyond any machine) is left out and counted, and the rest of the message is
 * taken: a broken sensor must cost one figure, not the control connection. So the schema bounds sizes only, and
 * `readTelemetry` judges the numbers. Sessions travel as rows, not objects: a third of the bytes at 512 a second.
 */
import { z } from 'zod';

/** Rows in one message, at most; an endpoint sends `telemetry.maxSessions` of its welcome. */
const maxTelemetryRows = 4096;
/** Verdicts in one message, at most. */
export const maxVerdicts = 4096;
/** A new endpoint metric must not break an older access point, a hostile one must not cost memory. */
const maxMetrics = 64;

/** Highest believable value of each metric; what lies above is refused like NaN, not cut. */
const highest = {
  cpuRatio: 64,
  cpuLimitCores: 65_536,
  hostCpuRatio: 2,
  memoryRatio: 2,
  ioRatio: 2,
  ioWaitRatio: 2,
  pressureCpu: 1,
  pressureMemory: 1,
  pressureIo: 1,
  eventLoopDelayMs: 3_600_000,
  acceptOverflows: 1e9,
  retransmitRatio: 1,
  sessions: 1e9,
  appLoad: 1e15,
  appCapacity: 1e15,
} as const;

/** Names of the metrics. */
type MetricName = keyof typeof highest;
/** All metrics' names, in the order of the documentation. */
const metricNames = Object.keys(highest) as MetricName[];

/**
 * One period of one endpoint. What could not be measured is absent, never 0.
 *
 * cpuRatio: CPU time of its cgroup, 1 = the quota (of the host's CPUs if there is no quota). cpuLimitCores: that quota.
 * hostCpuRatio: of all CPUs of the host. memoryRatio: of the cgroup's limit, else of the host. ioRatio: busiest disk's time
 * with I/O in flight. ioWaitRatio: CPU time spent idle with I/O in flight. pressure*: PSI `some avg10`, 0..1.
 * eventLoopDelayMs: p99 of the period. acceptOverflows: connections lost to a full accept queue in the period.
 * retransmitRatio: retransmitted of sent segments. sessions: served now. appLoad and appCapacity: in the application's unit.
 */
export type EndpointMetrics = { readonly [name in MetricName]?: number };

/** One session's demand since the figure before it. */
export interface SessionTelemetry {
  readonly id: string;
  /** How old the figure is at the message's `atMs`. */
  readonly ageMs: number;
  /** Over which time it counts. */
  readonly periodMs: number;
  /** Message marks or answers written, else segments with payload. */
  readonly requests: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Client's address; the access point fills it in from its own index. */
  readonly client?: string;
  /** Where that is, by the operator's table; absent: unknown. Filled in by the access point, too. */
  readonly location?: string;
}

/** A session on the wire: id, ageMs, periodMs, requests, bytesIn, bytesOut. */
export type TelemetryRow = readonly [string, number, number, number, number, number];

const isSmallObject = (v: unknown): boolean =>
  typeof v === 'object' && v !== null && !Array.isArray(v) && Object.keys(v).length <= maxMetrics;
const isRowList = (v: unknown): boolean => Array.isArray(v) && v.length <= maxTelemetryRows;

/** Endpoint → access point, once a period, never while the link is down. */
export const telemetrySchema = z.object({
  t: z.literal('telemetry'),
  /** The endpoint's own monotonic clock; only good for telling its messages' distance. */
  atMs: z.number().nonnegative(),
  /** Counts from 1 on each connection. */
  seq: z.number().int().min(1).max(0xffffffff),
  /** Sessions in all, reported here or not. */
  total: z.number().int().min(0).max(0xffffffff),
  metrics: z.custom<Readonly<Record<string, unknown>>>(isSmallObject, 'expected metrics'),
  sessions: z.custom<readonly unknown[]>(isRowList, `expected at most ${maxTelemetryRows} rows`),
});
/** Endpoint → access point, as it left the schema: numbers are not judged yet. */
export type TelemetryMessage = z.infer<typeof telemetrySchema>;

/** What the access point wants to be told, in its welcome. Without it an endpoint sends no telemetry. */
export const telemetryOrderSchema = z.object({
  periodMs: z.number().min(50).max(3_600_000),
  maxSessions: z.number().int().min(0).max(maxTelemetryRows),
});
/** What the access point wants to be told. */
export type TelemetryOrder = z.infer<typeof telemetryOrderSchema>;

const idPattern = /^[!-~]{1,64}$/;
const sessionId = z.string().regex(idPattern);
const verdict = z.object({ session: sessionId, target: z.string().min(1).max(63) });

/** Access point → endpoint: which sessions had better leave, and for where. Expired means stay. */
export const verdictsSchema = z.object({
  t: z.literal('verdicts'),
  /** Higher replaces lower; parts of one list carry the same. */
  generation: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  expiresInMs: z.number().nonnegative().max(86_400_000),
  verdicts: z.array(verdict).max(maxVerdicts),
  /** True if this ends the list: sessions not named in it stay. */
  complete: z.boolean(),
});
/** A telemetry message with its numbers judged. */
export interface Telemetry {
  readonly atMs: number;
  readonly seq: number;
  readonly total: number;
  readonly metrics: EndpointMetrics;
  readonly sessions: readonly SessionTelemetry[];
  /** Figures and rows left out because they cannot be. */
  readonly refused: number;
}

/** Judges the numbers of a message: what cannot be is absent in the result and counted in `refused`. Never throws. */
export function readTelemetry(message: TelemetryMessage): Telemetry {
  const metrics: { [name in MetricName]?: number } = {};
  let refused = 0;
  for (const name of metricNames) {
    const value = message.metrics[name];
    if (value === undefined) continue;
    if (isFigure(value, highest[name])) metrics[name] = value;
    else refused++;
  }
  const sessions: SessionTelemetry[] = [];
  for (const row of message.sessions) {
    const session = readRow(row);
    if (session === undefined) refused++;
    else sessions.push(session);
  }
  const { atMs, seq, total } = message;
  return { atMs, seq, total, metrics, sessions, refused };
}

function readRow(row: unknown): SessionTelemetry | undefined {
  if (!Array.isArray(row)) return undefined;
  const [id, ageMs, periodMs, requests, bytesIn, bytesOut] = row as unknown[];
  if (typeof id !== 'string' || !isSessionId(id)) return undefined;
  if (!isFigure(ageMs, longestMs) || !isFigure(periodMs, longestMs) || periodMs === 0) return undefined;
  if (!isFigure(requests, mostCounted) || !isFigure(bytesIn, mostCounted)) return undefined;
  if (!isFigure(bytesOut, mostCounted)) return undefined;
  return { id, ageMs, periodMs, requests, bytesIn, bytesOut };
}

const longestMs = 86_400_000;
const mostCounted = Number.MAX_SAFE_INTEGER;

/** By hand: zod costs a microsecond a row. */
function isSessionId(id: string): boolean {
  return idPattern.test(id);
}

function isFigure(value: unknown, max: number): value is number {
  return typeof value === 'number' && value >= 0 && value <= max;
}
