/** What happened, bounded: ended moves with their steps, and a tail for those who watch. */
import type { Flow } from '@restitch/core';
import type { MoveOutcome } from './life-cycle.js';
import type { MoveFailure, MoveOrigin, MoveUnderWay } from './move-under-way.js';

/** An ended move as plain data; `…Ns` are CLOCK_MONOTONIC (exact for 104 days of uptime), `…AtMs` is wall time. */
export interface MoveRecord {
  /** Counts ended moves of this daemon, from 1. */
  readonly seq: number;
  readonly moveId: string;
  readonly origin: MoveOrigin;
  readonly sessionId: string;
  readonly flow: Flow;
  readonly source: string;
  readonly target: string;
  readonly fromEpoch: number;
  readonly epoch: number;
  readonly outcome: MoveOutcome;
  readonly failure?: MoveFailure;
  /** Committed, but the client's own acknowledgement was not seen in time. */
  readonly unconfirmed: boolean;
  readonly startedAtMs: number;
  /** Packets were kept from here… */
  readonly holdNs: number;
  /** …and the record named the target from here; 0 if not reached. */
  readonly switchNs: number;
  readonly endedNs: number;
  readonly prepareMs: number;
  /** Hold to switch. */
  readonly moveMs: number;
  readonly confirmMs: number;
  readonly busyTries: number;
  readonly figures: Readonly<Record<string, number>>;
  readonly steps: ReadonlyArray<{ readonly state: string; readonly atMs: number }>;
}

/** The last moves, and listeners for those that come. */
export interface MoveHistory {
  add(move: MoveUnderWay): MoveRecord;
  /** Moves with a higher `seq`, oldest first. */
  since(seq: number, limit: number): MoveRecord[];
  ofSession(sessionId: string): MoveRecord[];
  /** `seq` of the newest, 0 if none; moves up to `lastSeq − capacity` are forgotten. */
  readonly lastSeq: number;
  /** The returned function ends it. */
  watch(listener: (record: MoveRecord) => void): () => void;
}

/** A history of at most `capacity` moves. */
export function createMoveHistory(capacity: number): MoveHistory {
  const ring: MoveRecord[] = [];
  const watchers = new Set<(record: MoveRecord) => void>();
  let lastSeq = 0;
  const inOrder = function* (from: number): Generator<MoveRecord> {
    for (let seq = Math.max(from, lastSeq - ring.length + 1); seq <= lastSeq; seq++) {
      const record = ring[(seq - 1) % capacity];
      if (record !== undefined) yield record;
    }
  };
  return {
    add(move) {
      lastSeq++;
      const record = toMoveRecord(move, lastSeq);
      ring[(lastSeq - 1) % capacity] = record;
      for (const watcher of watchers) watcher(record);
      return record;
    },
    since(seq, limit) {
      const found: MoveRecord[] = [];
      for (const record of inOrder(seq + 1)) {
        if (found.length >= limit) break;
        found.push(record);
      }
      return found;
    },
    ofSession: (sessionId) => [...inOrder(1)].filter((record) => record.sessionId === sessionId),
    get lastSeq() {
      return lastSeq;
    },
    watch(listener) {
      watchers.add(listener);
      return () => void watchers.delete(listener);
    },
  };
}

function toMoveRecord(move: MoveUnderWay, seq: number): MoveRecord {
  const { holdNs, switchNs, endedNs, startedNs } = move;
  const between = (from: bigint, to: bigint): number =>
    from > 0n && to > from ? Number(to - from) / 1e6 : 0;
  return {
    seq,
    moveId: move.id,
    origin: move.origin,
    sessionId: move.session.id,
    flow: move.flow,
    source: move.source.name,
    target: move.target.name,
    fromEpoch: move.fromEpoch,
    epoch: move.epoch,
    outcome: move.outcome ?? 'failed',
    ...(move.failure === undefined ? {} : { failure: move.failure }),
    unconfirmed: move.isUnconfirmed,
    startedAtMs: move.startedAtMs,
    holdNs: Number(holdNs),
    switchNs: Number(switchNs),
    endedNs: Number(endedNs),
    prepareMs: between(startedNs, holdNs),
    moveMs: between(holdNs, switchNs),
    confirmMs: between(switchNs, move.confirmedNs),
    busyTries: move.busyTries,
    figures: move.figures,
    steps: move.steps,
  };
}
