/** Moves that were given out: until they are answered they count at both ends, and their sessions are not planned again. */
import { SESSION_MOVING } from '../plan/fleet.js';
import type { EngineMove } from './engine-input.js';
import type { PendingMove } from './live-fleet.js';
import type { SessionBook } from './session-book.js';

/** A move nobody answered for is forgotten; the coordinator's own deadlines are shorter. */
const FORGET_MS = 60_000;
/** A session whose move came to nothing is left alone so long. */
const REST_MS = 15_000;

/** See the head of the file. */
export class PendingMoves {
  readonly moves = new Map<string, PendingMove & { readonly target: string; readonly source: string }>();

  constructor(private readonly sessions: SessionBook) {}

  /** Gives out moves. */
  add(moves: readonly EngineMove[], indexOf: (name: string) => number, nowMs: number): void {
    for (const { session, from, to } of moves) {
      const entry = this.sessions.get(session);
      if (entry === undefined) continue;
      const load = this.sessions.table.columns.load[entry.handle]!;
      const ends = { from: indexOf(from), to: indexOf(to), source: from, target: to };
      this.moves.set(session, { ...ends, load, sinceMs: nowMs });
      this.sessions.setFlag(entry, SESSION_MOVING, true);
    }
  }

  /** Answered; true if it was one of ours. `failedAtMs`: it came to nothing then. */
  settle(session: string, failedAtMs?: number): boolean {
    const isOurs = this.moves.delete(session);
    const entry = this.sessions.get(session);
    if (entry !== undefined) {
      this.sessions.setFlag(entry, SESSION_MOVING, false);
      if (isOurs && failedAtMs !== undefined) entry.restUntilMs = failedAtMs + REST_MS;
    }
    return isOurs;
  }

  /** Forgets what nobody will answer for any more. */
  expire(nowMs: number): void {
    for (const [session, { sinceMs }] of this.moves)
      if (nowMs - sinceMs > FORGET_MS) this.settle(session, nowMs);
  }

  clear(): void {
    for (const session of [...this.moves.keys()]) this.settle(session);
  }
}
