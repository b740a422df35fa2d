/**
 * Load that was moved away, counted back: an endpoint that did not cross its limit because sessions left it in time must not
 * teach the model that it would not have. Each move leaves a credit at its source (and a debit at its target) as large as the
 * session is now, wherever it is: it would have grown at its source too. Where nobody says how large it is, the credit fades
 * with the session's expected remaining life; it ends with the session.
 */

/** One committed move. */
export interface MovedSession {
  readonly session: number;
  readonly from: number;
  readonly to: number;
  /** Load of the session in the unit of the endpoint's metric. */
  readonly load: number;
  readonly atMs: number;
  /** Expected remaining life; the credit falls to 1/e after it. */
  readonly lifeMs: number;
}

/** Load of all sessions that are at `to` and would be at `from`. */
export interface MovedFlow {
  readonly from: number;
  readonly to: number;
  readonly load: number;
}

/** Most moves remembered; beyond it the oldest is forgotten, whose credit has faded most. */
const MAX_MOVES = 100_000;

/** Lives after which a credit is one thousandth. */
const FADED_LIVES = 7;

/** Ledger of credits and debits. */
export class MovedLoadLedger {
  private readonly moves = new Map<number, MovedSession>();

  /** Remembers a move; a second move of a session replaces its target and keeps its first source. */
  add(move: MovedSession): void {
    const before = this.moves.get(move.session);
    this.moves.delete(move.session);
    this.moves.set(move.session, before === undefined ? move : { ...move, from: before.from });
    if (this.moves.size > MAX_MOVES) {
      for (const oldest of this.moves.keys()) {
        this.moves.delete(oldest);
        break;
      }
    }
  }

  /** The session ended: it would have ended at the source too. */
  end(session: number): void {
    this.moves.delete(session);
  }

  /** Load that is away from where it would be: for each pair of source and target with any, as large as `loadOf` says it is now. */
  flows(nowMs: number, loadOf: (session: number) => number | undefined): MovedFlow[] {
    const sums = new Map<string, MovedFlow>();
    for (const [session, { from, to, load, atMs, lifeMs }] of this.moves) {
      if (from === to) {
        this.moves.delete(session);
        continue;
      }
      const now = loadOf(session) ?? load * Math.exp(-Math.max(0, nowMs - atMs) / lifeMs);
      const key = `${from} ${to}`;
      sums.set(key, { from, to, load: (sums.get(key)?.load ?? 0) + now });
    }
    return [...sums.values()];
  }

  /** `correction` of all endpoints at once, in one walk over the moves; what has faded to nothing is forgotten. */
  corrections(endpointCount: number, nowMs: number): Float64Array {
    const sums = new Float64Array(endpointCount);
    for (const [session, { from, to, load, atMs, lifeMs }] of this.moves) {
      const age = Math.max(0, nowMs - atMs) / lifeMs;
      if (age > FADED_LIVES || from === to) {
        this.moves.delete(session);
        continue;
      }
      const left = load * Math.exp(-age);
      if (from < endpointCount) sums[from] = sums[from]! + left;
      if (to < endpointCount) sums[to] = sums[to]! - left;
    }
    return sums;
  }

  /** Load to add to what an endpoint shows to know what it would have shown without the moves. */
  correction(endpoint: number, nowMs: number): number {
    let sum = 0;
    for (const { from, to, load, atMs, lifeMs } of this.moves.values()) {
      if (from === to || (from !== endpoint && to !== endpoint)) continue;
      const left = load * Math.exp(-Math.max(0, nowMs - atMs) / lifeMs);
      sum += from === endpoint ? left : -left;
    }
    return sum;
  }
}
