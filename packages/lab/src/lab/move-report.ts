/** What `lab move` prints, computed from what the clients saw and what the access point recorded. */
import type { MoveAnswer } from '@restitch/wire';
import type { ClientReport } from '../load/clients/driver-messages.js';
import { clientKey } from './lab-admin.js';
import { findGapMs, toAnswerSeries, toPauseSeries } from '../load/measure/gaps.js';
import type { AnswerSeries } from '../load/measure/gaps.js';
import { describeValues } from '../load/measure/percentiles.js';
import type { Distribution } from '../load/measure/percentiles.js';
import type { DaemonKillReport, FloodReport } from './move-trials.js';
import type { RtoComparison } from './role-schedule.js';

/** Outcomes of moves. */
export interface MoveCounts {
  readonly committed: number;
  readonly reverted: number;
  readonly refused: number;
  readonly failed: number;
}

/** Bytes of all clients. */
export interface ByteCounts {
  readonly sent: number;
  readonly received: number;
  readonly mismatched: number;
  readonly lost: number;
  readonly duplicated: number;
}

/** The object `lab move --json` prints; times in milliseconds. */
export interface MoveReport {
  readonly sessions: number;
  readonly moves: MoveCounts;
  /** Committed, but the client's own acknowledgement was not seen in time. */
  readonly unconfirmed: number;
  readonly bytes: ByteCounts;
  readonly clientResets: number;
  readonly clientRtos: number;
  readonly serverRtos: number;
  /** Of the moves whose window an answer overlapped: `gapSamples` of them. */
  readonly gapMs: Distribution;
  readonly gapSamples: number;
  /** Hold to switch. */
  readonly moveMs: Distribution;
  readonly prepareMs: Distribution;
  readonly confirmMs: Distribution;
  /** The same measure, over the same windows, of sessions that were not in a move. */
  readonly unmovedGapMs: Distribution;
  readonly unmovedGapSamples: number;
  /** Sizes of the images that travelled; both queues of the connection are in them. */
  readonly imageBytes: Distribution;
  /** Moves before those that count; every byte of theirs is checked as well. */
  readonly warmUp?: { readonly moves: number; readonly notCommitted: number };
  /** At level commit: moves to the session's own buddy need only a delta. */
  readonly protectedMoves?: ProtectedMoves;
  readonly flood?: FloodReport;
  readonly daemonKill?: DaemonKillReport;
  /** With losses: timeouts of sessions while they were moved, against while they were not. */
  readonly rtoComparison?: RtoComparison;
  /** Codes and steps of moves that did not commit. */
  readonly failures: Readonly<Record<string, number>>;
  /** What went wrong at clients, at most ten. */
  readonly stories: readonly string[];
}

/** Bytes that travelled for moves of protected sessions: to their buddies, and to others. */
interface ProtectedMoves {
  readonly toBuddy: number;
  readonly toOthers: number;
  readonly imageBytesToBuddy: Distribution;
  /** Of the commit that goes ahead of such an image. */
  readonly deltaBytesToBuddy: Distribution;
  readonly imageBytesToOthers: Distribution;
}

/** What a run has gathered. */
export interface MoveEvidence {
  readonly records: readonly MoveAnswer[];
  /** Migrations the access point refused to begin. */
  readonly refused: Readonly<Record<string, number>>;
  readonly clients: readonly ClientReport[];
  readonly serverRtos: number;
  readonly rttMs: number;
}

/** Unmoved sessions looked at for each move's window. */
const comparedPerMove = 5;

/** Joins clients and moves. */
export function createMoveReport(evidence: MoveEvidence): MoveReport {
  const { records, clients } = evidence;
  const committed = records.filter((r) => r.outcome === 'committed');
  const gaps = measureGaps(evidence, committed);
  const refusedCount = Object.values(evidence.refused).reduce((sum, n) => sum + n, 0);
  const count = (outcome: string): number => records.filter((r) => r.outcome === outcome).length;
  return {
    sessions: clients.length,
    moves: {
      committed: committed.length,
      reverted: count('reverted'),
      refused: count('refused') + refusedCount,
      failed: records.filter((r) => !['committed', 'reverted', 'refused'].includes(r.outcome)).length,
    },
    unconfirmed: committed.filter((r) => r.unconfirmed).length,
    bytes: sumBytes(clients),
    clientResets: sum(clients, (c) => c.resets),
    clientRtos: sum(clients, (c) => c.rtos),
    serverRtos: evidence.serverRtos,
    gapMs: describeValues(gaps.moved),
    gapSamples: gaps.moved.length,
    moveMs: describeValues(committed.map((r) => r.moveMs)),
    prepareMs: describeValues(committed.map((r) => r.prepareMs)),
    confirmMs: describeValues(committed.filter((r) => !r.unconfirmed).map((r) => r.confirmMs)),
    unmovedGapMs: describeValues(gaps.unmoved),
    unmovedGapSamples: gaps.unmoved.length,
    imageBytes: describeValues(committed.map((r) => r.figures['imageBytes'] ?? 0)),
    ...describeProtected(committed),
    failures: countFailures(records, evidence.refused),
    stories: clients.flatMap((c) => (c.trouble === undefined ? [] : [`${c.tag}: ${c.trouble}`])).slice(0, 10),
  };
}

/** True if no client noticed anything. */
export function isClean(report: Pick<MoveReport, 'bytes' | 'clientResets'>): boolean {
  const { mismatched, lost, duplicated } = report.bytes;
  return mismatched + lost + duplicated + report.clientResets === 0;
}

/** Sums over clients. */
export function sumBytes(clients: readonly ClientReport[]): ByteCounts {
  return {
    sent: sum(clients, (c) => c.sentBytes),
    received: sum(clients, (c) => c.receivedBytes),
    mismatched: sum(clients, (c) => c.mismatchedBytes),
    lost: sum(clients, (c) => c.lostBytes),
    duplicated: sum(clients, (c) => c.duplicatedBytes),
  };
}

function describeProtected(committed: readonly MoveAnswer[]): { protectedMoves?: ProtectedMoves } {
  const figures = committed.map((r) => r.figures).filter((f) => f['toBuddy'] !== undefined);
  if (figures.length === 0) return {};
  const near = figures.filter((f) => f['toBuddy'] === 1);
  const far = figures.filter((f) => f['toBuddy'] === 0);
  const describe = (of: typeof figures, key: string): Distribution =>
    describeValues(of.map((f) => f[key] ?? 0));
  return {
    protectedMoves: {
      toBuddy: near.length,
      toOthers: far.length,
      imageBytesToBuddy: describe(near, 'imageBytes'),
      deltaBytesToBuddy: describe(near, 'deltaBytes'),
      imageBytesToOthers: describe(far, 'imageBytes'),
    },
  };
}

interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

function measureGaps(
  evidence: MoveEvidence,
  committed: readonly MoveAnswer[],
): { moved: number[]; unmoved: number[] } {
  const series = new Map<string, AnswerSeries>();
  for (const client of evidence.clients) {
    const toSeries = client.kind === 'line' ? toAnswerSeries : toPauseSeries;
    series.set(clientKey(client.localAddress, client.localPort), toSeries(client.samples));
  }
  const keys = [...series.keys()];
  const windows = new Map<string, Window[]>(keys.map((key) => [key, []]));
  for (const record of evidence.records) windows.get(keyOf(record))?.push(toBusyTime(record, evidence.rttMs));
  const moved: number[] = [];
  const unmoved: number[] = [];
  committed.forEach((record, i) => {
    const key = keyOf(record);
    const window = toWindow(record, evidence.rttMs);
    const own = series.get(key);
    if (own !== undefined) pushDefined(moved, findGapMs(own, window.fromMs, window.toMs));
    for (let k = 0; k < Math.min(comparedPerMove, keys.length - 1); k++) {
      const otherKey = keys[(i * comparedPerMove + k) % keys.length] ?? key;
      const other = series.get(otherKey);
      const isMoving = (windows.get(otherKey) ?? []).some((w) => overlaps(w, window));
      if (other !== undefined && otherKey !== key && !isMoving) {
        pushDefined(unmoved, findGapMs(other, window.fromMs, window.toMs));
      }
    }
  });
  return { moved, unmoved };
}

function toWindow(record: MoveAnswer, rttMs: number): Window {
  return { fromMs: record.holdNs / 1e6, toMs: record.switchNs / 1e6 + rttMs };
}

/** From hold to the end of the move and what follows from it: another session's move must not count as unmoved. */
function toBusyTime(record: MoveAnswer, rttMs: number): Window {
  const settleMs = 20;
  return { fromMs: record.holdNs / 1e6, toMs: record.endedNs / 1e6 + rttMs + settleMs };
}

function overlaps(a: Window, b: Window): boolean {
  return a.fromMs <= b.toMs && b.fromMs <= a.toMs;
}

function keyOf(record: MoveAnswer): string {
  return clientKey(record.flow.client.address, record.flow.client.port);
}

function pushDefined(list: number[], value: number | undefined): void {
  if (value !== undefined) list.push(value);
}

function countFailures(
  records: readonly MoveAnswer[],
  refused: Readonly<Record<string, number>>,
): Record<string, number> {
  const counts: Record<string, number> = { ...refused };
  for (const { outcome, failure } of records) {
    if (outcome === 'committed') continue;
    const key = `${outcome} ${failure?.step ?? '?'} ${failure?.code ?? '?'}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((total, value) => total + of(value), 0);
}
