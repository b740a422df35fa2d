/** What became of phase clients, kind by kind: counts, and what of it no promise allows. */
import { tcpState } from '@restitch/sys/internal';
import type { TailReceipt } from '../apps/tail-app.js';
import type { ProtectionLevel } from '@restitch/guard';
import { describeValues } from '../measure/percentiles.js';
import { lifeKinds } from './life-kinds.js';
import type { LifeKind, LifeRecord } from './life-kinds.js';

/** A socket of the victim at the instant of the fault, as its kernel lists it. */
export interface ServerSocket {
  /** Number of include/net/tcp_states.h. */
  readonly state: number;
  readonly sendQueueBytes: number;
  /** False while no application has accepted it. */
  readonly isAccepted: boolean;
  /** A process has its descriptor. */
  readonly isHeld: boolean;
}

/** A fault as the phase clients' judge needs it. */
export interface LifeFault {
  /** CLOCK_MONOTONIC milliseconds. */
  readonly atMs: number;
  readonly victim: string;
  /** By client port. */
  readonly sockets: ReadonlyMap<number, ServerSocket>;
  /** Whoever was there may be reset at levels below commit: the sessions die with it. */
  readonly isDeath: boolean;
}

/** One kind in a report. Counts of connections, unless named otherwise. */
export interface KindCounts {
  readonly clients: number;
  /** How often one was in the phase of its kind, on the victim, at the instant of a fault. */
  readonly inPhase: number;
  /** Those by the state of the victim's socket. */
  readonly serverStates: Readonly<Record<string, number>>;
  readonly served: number;
  readonly reset: number;
  /** Of those: ones no application had answered yet. */
  readonly resetUnaccepted: number;
  readonly refused: number;
  readonly stuck: number;
  readonly ended: number;
  readonly earlyEofs: number;
  readonly lostBytes: number;
  readonly doubledBytes: number;
  readonly wrongBytes: number;
  readonly silentMs: { readonly p99: number; readonly max: number };
}

/** All kinds. */
export type KindsReport = Readonly<Partial<Record<LifeKind, KindCounts>>>;

/** What the judge is told of a run. */
export interface LifeRun {
  readonly records: readonly LifeRecord[];
  readonly faults: readonly LifeFault[];
  /** What collecting servers have written to their logs. */
  readonly receipts: readonly TailReceipt[];
}

/** What a client was done that no promise allows. */
export interface LifeFinding {
  readonly fault: 'bytes' | 'early-eof' | 'reset' | 'refused' | 'stuck' | 'silent';
  readonly what: string;
}

/** Nobody who wants to read waits longer. */
const silentLimitMs = 5000;
/** A run of full size has at least so many clients of each kind in their phase at faults. */
export const inPhaseAtLeast = 20;

const names = new Map(Object.entries(tcpState).map(([name, value]) => [value as number, name]));

/** Counts, kind by kind; only kinds that took part. */
export function countKinds(run: LifeRun): KindsReport {
  const kinds = lifeKinds.filter((kind) => run.records.some((r) => r.kind === kind));
  return Object.fromEntries(kinds.map((kind) => [kind, countKind(kind, run)]));
}

/** True if `record` was in its phase, seen from both ends, at the instant of the fault. */
function isInPhase(record: LifeRecord, fault: LifeFault): boolean {
  if (record.kind === 'connect-burst') return isAtInstant(record, fault);
  const isIn = record.phases.some(([from, to]) => from <= fault.atMs && fault.atMs <= to);
  return isIn && hasServerState(record.kind, fault.sockets.get(record.localPort));
}

/** What no level allows, and what this one does not. `isPlanned`: nothing died, sessions were to move. */
export function findLifeFaults(
  run: LifeRun,
  level: ProtectionLevel,
  options: { readonly isPlanned?: boolean; readonly silentMs?: number } = {},
): LifeFinding[] {
  const promise = {
    level,
    isPlanned: options.isPlanned ?? false,
    silentMs: options.silentMs ?? silentLimitMs,
  };
  return run.records.flatMap((record) => {
    const found = judgeLife(record, run, promise);
    return found === undefined ? [] : [{ ...found, what: `${record.kind} ${record.tag}: ${found.what}` }];
  });
}

/** Kinds that a run of full size has not tried often enough. */
export function findRareKinds(kinds: KindsReport): string[] {
  return Object.entries(kinds)
    .filter(([, counts]) => counts.inPhase < inPhaseAtLeast)
    .map(([kind, counts]) => `${kind}: only ${counts.inPhase} in their phase, ${inPhaseAtLeast} wanted`);
}

/** The sum over kinds. */
export function sumKinds(kinds: KindsReport, of: (counts: KindCounts) => number): number {
  return Object.values(kinds).reduce((sum, counts) => sum + of(counts), 0);
}

/** Lines for people. */
export function formatKinds(kinds: KindsReport): string[] {
  return Object.entries(kinds).map(([kind, k]) => {
    const ends = [
      `${k.served} served`,
      ...(k.reset > 0 ? [`${k.reset} reset (${k.resetUnaccepted} not accepted yet)`] : []),
      ...(k.refused > 0 ? [`${k.refused} refused`] : []),
      ...(k.stuck > 0 ? [`${k.stuck} stuck`] : []),
      ...(k.earlyEofs > 0 ? [`${k.earlyEofs} CUT SHORT`] : []),
    ].join(', ');
    const bytes = `${k.lostBytes} lost, ${k.doubledBytes} doubled, ${k.wrongBytes} wrong bytes`;
    return `  ${kind.padEnd(26)} ${k.inPhase} in phase of ${k.clients}: ${ends}; ${bytes}; silent ${Math.round(k.silentMs.max)} ms at most`;
  });
}

/** True if an application has shown that it knows of the connection. */
function wasAccepted(record: LifeRecord): boolean {
  return record.firstByteAtMs !== undefined;
}

function countKind(kind: LifeKind, run: LifeRun): KindCounts {
  const records = run.records.filter((r) => r.kind === kind);
  const count = (end: LifeRecord['end']): number => records.filter((r) => r.end === end).length;
  const sum = (of: (r: LifeRecord) => number): number => records.reduce((total, r) => total + of(r), 0);
  const serverStates: Record<string, number> = {};
  let inPhase = 0;
  for (const fault of run.faults) {
    for (const record of records) {
      if (!isInPhase(record, fault)) continue;
      inPhase++;
      const state = names.get(fault.sockets.get(record.localPort)?.state ?? 0) ?? 'none';
      serverStates[state] = (serverStates[state] ?? 0) + 1;
    }
  }
  const { p99, max } = describeValues(records.map((r) => r.silentMs));
  return {
    clients: records.length,
    inPhase,
    serverStates,
    served: count('complete'),
    reset: count('reset'),
    resetUnaccepted: records.filter((r) => r.end === 'reset' && !wasAccepted(r)).length,
    refused: count('refused'),
    stuck: count('stuck'),
    ended: count('ended'),
    earlyEofs: count('early-eof'),
    lostBytes: sum((r) => r.lostBytes) + sum((r) => missingUpload(r, run.receipts)),
    doubledBytes: sum((r) => r.doubledBytes),
    wrongBytes: sum((r) => r.wrongBytes) + sum((r) => badUpload(r, run.receipts)),
    silentMs: { p99, max },
  };
}

/** Uploaded, acknowledged to the end, and not received. */
function missingUpload(record: LifeRecord, receipts: readonly TailReceipt[]): number {
  if (record.uploadedBytes === undefined) return 0;
  const got = receipts.filter((r) => r.tag === record.tag).map((r) => r.bytes);
  return Math.max(0, record.uploadedBytes - Math.max(0, ...got));
}

function badUpload(record: LifeRecord, receipts: readonly TailReceipt[]): number {
  const own = receipts.filter((r) => r.tag === record.tag);
  const surplus = own.map((r) => Math.max(0, r.bytes - (record.uploadedBytes ?? r.bytes)));
  return Math.max(0, ...own.map((r) => r.bad), ...surplus);
}

function judgeLife(
  record: LifeRecord,
  run: LifeRun,
  promise: { readonly level: ProtectionLevel; readonly isPlanned: boolean; readonly silentMs: number },
): LifeFinding | undefined {
  const { end, error, receivedBytes, lostBytes, doubledBytes, silentMs } = record;
  const isCommit = promise.level === 'commit';
  const wrong = record.wrongBytes + badUpload(record, run.receipts);
  if (wrong + doubledBytes > 0)
    return { fault: 'bytes', what: `${wrong} wrong, ${doubledBytes} doubled bytes` };
  if (end === 'early-eof')
    return { fault: 'early-eof', what: `a clean end after ${receivedBytes} bytes, ${lostBytes} are missing` };
  if (end === 'refused') return { fault: 'refused', what: `no connection: ${error ?? 'nothing for 16 s'}` };
  if (end === 'stuck')
    return {
      fault: 'stuck',
      what: `nothing for ${Math.round(silentMs)} ms, port ${record.localPort}, at ${Math.round(record.endedAtMs)} ms`,
    };
  if (lostBytes > 0) return { fault: 'bytes', what: `${lostBytes} bytes lost` };
  const isExcused = !isCommit && !promise.isPlanned && wasHit(record, run.faults);
  if (end === 'reset' && !isExcused && (wasAccepted(record) || (isCommit && wasAcknowledged(record))))
    return {
      fault: 'reset',
      what: `${error ?? 'reset'} after ${receivedBytes} bytes, port ${record.localPort}, at ${Math.round(record.endedAtMs)} ms`,
    };
  if (!isCommit) return undefined;
  const missing = missingUpload(record, run.receipts);
  if (missing > 0) return { fault: 'bytes', what: `${missing} bytes were acknowledged and not received` };
  if (silentMs > promise.silentMs)
    return { fault: 'silent', what: `silent for ${Math.round(silentMs)} ms, port ${record.localPort}` };
  return undefined;
}

/** Level commit acknowledges nothing before an application has it and its buddy knows. */
function wasAcknowledged(record: LifeRecord): boolean {
  return record.ackedBytes > 0;
}

/** A session of it was on an endpoint that died. A burst may have been on its way there. */
function wasHit(record: LifeRecord, faults: readonly LifeFault[]): boolean {
  return faults.some(
    (f) =>
      f.isDeath &&
      record.openedAtMs <= f.atMs + burstWindowMs &&
      f.atMs <= record.endedAtMs &&
      (f.sockets.has(record.localPort) || isAtInstant(record, f)),
  );
}

/** Connections of the same instant: the list of sockets is a few milliseconds older than the fault. */
const burstWindowMs = 100;

function isAtInstant(record: LifeRecord, fault: LifeFault): boolean {
  return Math.abs(record.openedAtMs - fault.atMs) <= burstWindowMs;
}

function hasServerState(kind: LifeKind, socket: ServerSocket | undefined): boolean {
  if (socket === undefined) return false;
  const { state, sendQueueBytes, isAccepted } = socket;
  switch (kind) {
    case 'slow-reader':
    case 'server-ends-with-backlog':
      return sendQueueBytes > 0;
    case 'half-closer':
      return state === tcpState.closeWait || state === tcpState.lastAck;
    case 'server-half-closer':
      return state === tcpState.finWait1 || state === tcpState.finWait2;
    case 'accept-queue':
      return !isAccepted;
    default:
      return isAccepted;
  }
}
