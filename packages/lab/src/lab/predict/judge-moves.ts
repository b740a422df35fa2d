/** Which moves were of use: judged afterwards, by what became of the session and by the run in which nobody was moved. */
import type { CpuSample } from './cpu-sampler.js';
import { isDisturbed } from './overload.js';
import type { PredictRun, RunMove } from './predict-run.js';

/** Why moves were of no use, and how many; one move counts once, for the first reason. */
export interface UselessMoves {
  /** The session ended less than 10 s later. */
  readonly ended: number;
  /** It was moved again within a minute although its endpoint was well. */
  readonly again: number;
  /** Its endpoint would not have come to its limit. */
  readonly needless: number;
}

const endedWithinMs = 10_000;
const againWithinMs = 60_000;
/** A move is for the near future: an overload later than this is no reason for it. */
const reasonWithinMs = 15_000;
/** An endpoint is disturbed when it is at its limit for a second; samples do not end to the millisecond. */
export const disturbedMs = 950;
/** Mean load of a second from which leaving an endpoint has a cause. */
const causeRatio = 0.7;

/** Judges the committed moves of a run; `reference` is the run of the same seed without moves, if there was one. */
export function judgeMoves(run: PredictRun, reference: PredictRun | undefined): UselessMoves {
  const useless = { ended: 0, again: 0, needless: 0 };
  const endOf = plannedEnds(run);
  const committed = run.moves.filter((move) => move.outcome === 'committed');
  for (const [i, move] of committed.entries()) {
    const next = committed.slice(i + 1).find((later) => later.session === move.session);
    const endMs = endOf.get(move.clientPort) ?? Number.POSITIVE_INFINITY;
    if (endMs - move.atMs < endedWithinMs) useless.ended++;
    else if (next !== undefined && next.atMs - move.atMs < againWithinMs && !hadCause(run, next))
      useless.again++;
    else if (reference !== undefined && !wouldCross(run, reference, move)) useless.needless++;
  }
  return useless;
}

/** Clients that left by their own plan, not by the end of the run. */
function plannedEnds(run: PredictRun): Map<number, number> {
  const leaving = new Set(
    run.traffic.clients.filter((c) => c.pace.closeAtMs !== undefined).map((c) => c.tag),
  );
  return new Map(run.clients.filter((c) => leaving.has(c.tag)).map((c) => [c.localPort, c.closedAtMs]));
}

function wouldCross(run: PredictRun, reference: PredictRun, move: RunMove): boolean {
  if (run.traffic.noticeAtMs !== undefined) return true;
  const atMs = move.atMs - run.startMs + reference.startMs;
  const samples = reference.samples.get(move.source) ?? [];
  return isDisturbed(samples, atMs - disturbedMs, atMs + reasonWithinMs, disturbedMs);
}

function hadCause(run: PredictRun, move: RunMove): boolean {
  return highestSecond(run.samples.get(move.source) ?? [], move.atMs - 3000, move.atMs) >= causeRatio;
}

/** Highest mean ratio of four samples in a row. */
function highestSecond(samples: readonly CpuSample[], fromMs: number, toMs: number): number {
  const within = samples.filter((s) => s.atMs > fromMs && s.atMs <= toMs);
  let highest = 0;
  for (let i = 3; i < within.length; i++) {
    const mean = within.slice(i - 3, i + 1).reduce((sum, s) => sum + s.ratio, 0) / 4;
    highest = Math.max(highest, mean);
  }
  return highest;
}
