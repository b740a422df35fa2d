/** How far a drain is, as operators and the command line see it. */
import type { DrainConfig } from '../config/index.js';
import type { Residue, ResidueDoubt } from './drain-residue.js';
import type { Session } from '../model/session-registry.js';

/** What happens to sessions that are left when the deadline has passed. */
export type OnDrainDeadline = DrainConfig['onDeadline'];

/** What does not leave, by reason code. */
export interface Stuck {
  readonly code: string;
  /** Sessions; of `residue`, sockets. */
  readonly sessions: number;
  /** One of them, with its reason in words; no session's where it is about sockets or the endpoint. */
  readonly example: { readonly sessionId: string; readonly reason: string };
}

/** How far a drain is. */
export interface DrainProgress {
  readonly endpoint: string;
  readonly state: 'draining' | 'drained';
  /** The process itself has said that it is about to leave, and no operator wants it. */
  readonly isLeaving: boolean;
  readonly startedAtMs: number;
  readonly atStart: number;
  readonly moved: number;
  readonly ended: number;
  readonly left: number;
  /** Of those that are left, how many only deliver the rest to their clients. */
  readonly closing: number;
  readonly inMove: number;
  /** Sockets of its host that no session belongs to and that owe their clients something; null: not known. */
  readonly residue: Residue | null;
  /** Over the last seconds. */
  readonly movedPerSec: number;
  /** At this rate; null if nothing moves. */
  readonly etaMs: number | null;
  readonly stuck: readonly Stuck[];
  readonly deadlineAtMs: number;
  readonly onDeadline: OnDrainDeadline;
  readonly isDeadlinePassed: boolean;
}

/** Why a session was not moved the last time. */
export interface Refusal {
  readonly code: string;
  readonly reason: string;
}

/** What does not leave and why, most first. */
export function whatIsStuck(
  sessions: Iterable<Session>,
  refusalOf: (session: Session) => Refusal | undefined,
  residue: Residue | undefined,
  doubt: ResidueDoubt | undefined,
): Stuck[] {
  const byCode = new Map<string, Stuck>();
  const note = (code: string, count: number, sessionId: string, reason: string): void => {
    const before = byCode.get(code);
    if (before === undefined) byCode.set(code, { code, sessions: count, example: { sessionId, reason } });
    else byCode.set(code, { ...before, sessions: before.sessions + count });
  };
  for (const session of sessions) {
    const refusal = refusalOf(session);
    if (session.isFinishing === true) {
      note('finishing', 1, session.id, 'its process has ended, and the kernel of its host delivers the rest');
    } else if (session.doubt !== undefined) note('session_moving', 1, session.id, session.doubt);
    else if (refusal !== undefined) note(refusal.code, 1, session.id, refusal.reason);
  }
  if (doubt !== undefined) note(doubt.code, 0, '', doubt.reason);
  else if (residue !== undefined && residue.sockets > 0) {
    note('residue', residue.sockets, '', `${waitsFor(residue)} to be acknowledged`);
  }
  return [...byCode.values()].sort((a, b) => b.sessions - a.sessions);
}

function waitsFor({ sockets, bytes }: Residue): string {
  return `waits for ${plural(sockets, 'socket')} with ${plural(bytes, 'byte')}`;
}

function plural(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}
