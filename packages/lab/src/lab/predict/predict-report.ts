/** From runs to the figures of `lab predict`. */
import { quantileOfSorted } from '../../load/measure/percentiles.js';
import { calibrate } from './calibration.js';
import type { Calibration, ScoredOutcome } from './calibration.js';
import { judgeNotice } from './judge-notice.js';
import type { NoticeFigures } from './judge-notice.js';
import { disturbedMs, judgeMoves } from './judge-moves.js';
import type { UselessMoves } from './judge-moves.js';
import type { PredictMode } from './modes.js';
import { earlyModes, horizonMs } from './modes.js';
import { isDisturbed, overloadSeconds } from './overload.js';
import { medianInterval, ratioOf } from './paired.js';
import type { MedianInterval } from './paired.js';
import type { PredictRun } from './predict-run.js';
import type { TrafficPattern } from './traffic.js';

/** One run's figures. */
export interface RunFigures {
  readonly seed: number;
  /** Sum over endpoints of samples at the limit, from the instant that counts. */
  readonly overloadSeconds: number;
  readonly clientP99Ms: number;
  /** All of them. */
  readonly moves: number;
  /** Those from the instant that counts; useless ones are counted among them. */
  readonly scoredMoves: number;
  /** Moves that ended where they began. */
  readonly reverted: number;
  readonly uselessMoves: number;
  readonly uselessWhy: UselessMoves;
  /** Clients that lost a byte, got one twice or wrong, or were reset. */
  readonly lost: number;
  readonly requests: number;
  readonly notice?: NoticeFigures;
  readonly stories: readonly string[];
}

/** One mode's figures: medians over its runs, sums for what must be nought. */
interface ModeFigures {
  readonly overloadSeconds: number;
  readonly clientP99Ms: number;
  readonly moves: number;
  readonly reverted: number;
  readonly uselessMoves: number;
  /** Of its runs' moves that count. */
  readonly uselessRatio: number;
  readonly lost: number;
  readonly runs: readonly RunFigures[];
}

/** What `lab predict --json` prints. */
export interface PredictReport {
  readonly pattern: TrafficPattern;
  readonly repeats: number;
  readonly modes: Partial<Record<PredictMode, ModeFigures>>;
  /** Overload of predictive over that of the other, pairwise by seed. */
  readonly ratios: Partial<Record<PredictMode, MedianInterval>>;
  /** The early trigger with the least overload among those that moved at most as often as predictive. */
  readonly bestEarly: PredictMode | null;
  /** Of the scores of mode none, against what happened when nobody acted on them. */
  readonly calibration: Calibration | null;
  /** Only with an inverted model: what counts begins when the forecast has handed over. */
  readonly fallBacks?: readonly FallBack[];
  readonly lost: number;
}

/** When the model of a run was found to have no skill; seconds from the beginning of the traffic, null for never. */
export interface FallBack {
  readonly seed: number;
  readonly afterSeconds: number | null;
}

/**
 * Figures of one run; `reference` is the run of the same seed without moves. Load counts from `notBeforeMs` after the beginning,
 * if that is later than what the pattern says.
 */
export function figuresOf(run: PredictRun, reference: PredictRun | undefined, notBeforeMs = 0): RunFigures {
  const fromMs = run.startMs + Math.max(notBeforeMs, run.traffic.scoredFromMs);
  const toMs = run.startMs + run.traffic.lengthMs;
  let overload = 0;
  for (const samples of run.samples.values()) overload += overloadSeconds(samples, fromMs, toMs);
  const counted = { ...run, moves: run.moves.filter((m) => m.atMs >= fromMs) };
  const uselessWhy = judgeMoves(counted, reference);
  const harmed = run.clients.filter(
    (c) => c.lostBytes + c.duplicatedBytes + c.mismatchedBytes > 0 || c.resets > 0,
  );
  const notice = judgeNotice(run);
  const latencies = scoredLatencies(run, fromMs, toMs);
  return {
    seed: run.seed,
    overloadSeconds: round(overload),
    clientP99Ms: round(quantileOfSorted(latencies.sort(), 0.99)),
    moves: run.moves.filter((m) => m.outcome === 'committed').length,
    scoredMoves: counted.moves.filter((m) => m.outcome === 'committed').length,
    reverted: run.moves.filter((m) => m.outcome !== 'committed').length,
    uselessMoves: uselessWhy.ended + uselessWhy.again + uselessWhy.needless,
    uselessWhy,
    lost: harmed.length,
    requests: latencies.length,
    ...(notice === undefined ? {} : { notice }),
    stories: [
      ...harmed.map((c) => `client ${c.tag}: ${c.trouble ?? `${c.resets} resets`}`),
      ...run.moves.flatMap((m) =>
        m.failure === undefined ? [] : [`${m.source} to ${m.target}: ${m.outcome} at ${m.failure}`],
      ),
    ].slice(0, 10),
  };
}

/** The report over all repeats. */
export function createPredictReport(
  pattern: TrafficPattern,
  runs: ReadonlyMap<PredictMode, readonly RunFigures[]>,
  outcomes: readonly ScoredOutcome[],
): PredictReport {
  const modes: Partial<Record<PredictMode, ModeFigures>> = {};
  for (const [mode, list] of runs) modes[mode] = summarise(list);
  const ratios: Partial<Record<PredictMode, MedianInterval>> = {};
  const predictive = runs.get('predictive') ?? [];
  for (const [mode, list] of runs) {
    if (mode === 'predictive') continue;
    const paired = predictive.flatMap((p) => {
      const other = list.find((figures) => figures.seed === p.seed);
      return other === undefined ? [] : [ratioOf(p.overloadSeconds, other.overloadSeconds)];
    });
    const interval = medianInterval(paired);
    if (interval !== undefined) ratios[mode] = interval;
  }
  return {
    pattern,
    repeats: Math.max(0, ...[...runs.values()].map((list) => list.length)),
    modes,
    ratios,
    bestEarly: findBestEarly(modes),
    calibration: calibrate(outcomes) ?? null,
    lost: Object.values(modes).reduce((sum, mode) => sum + mode.lost, 0),
  };
}

/** Scores of a run with what came of them, from the instant that counts; those whose horizon reaches beyond the run are left out. */
export function outcomesOf(run: PredictRun): ScoredOutcome[] {
  const endMs = run.startMs + run.traffic.lengthMs;
  return run.statements.list.flatMap(({ atMs, endpoint, sessions, score }) => {
    if (atMs < run.startMs + run.traffic.scoredFromMs || atMs + horizonMs > endMs || sessions === 0)
      return [];
    const samples = run.samples.get(endpoint) ?? [];
    const stayedUndisturbed = !isDisturbed(samples, atMs, atMs + horizonMs, disturbedMs);
    return [{ score, stayedUndisturbed, weight: sessions }];
  });
}

function summarise(runs: readonly RunFigures[]): ModeFigures {
  const median = (pick: (run: RunFigures) => number): number =>
    round(medianInterval(runs.map(pick))?.median ?? 0);
  const sum = (pick: (run: RunFigures) => number): number =>
    runs.reduce((total, run) => total + pick(run), 0);
  const moves = sum((run) => run.scoredMoves);
  return {
    overloadSeconds: median((run) => run.overloadSeconds),
    clientP99Ms: median((run) => run.clientP99Ms),
    moves: median((run) => run.moves),
    reverted: sum((run) => run.reverted),
    uselessMoves: median((run) => run.uselessMoves),
    uselessRatio: moves === 0 ? 0 : round(sum((run) => run.uselessMoves) / moves),
    lost: sum((run) => run.lost),
    runs,
  };
}

function findBestEarly(modes: PredictReport['modes']): PredictMode | null {
  const most = modes.predictive?.moves ?? 0;
  const allowed = earlyModes.filter((mode) => (modes[mode]?.moves ?? Number.POSITIVE_INFINITY) <= most);
  const overloadOf = (mode: PredictMode): number => modes[mode]?.overloadSeconds ?? Number.POSITIVE_INFINITY;
  return allowed.toSorted((x, y) => overloadOf(x) - overloadOf(y))[0] ?? null;
}

function scoredLatencies(run: PredictRun, fromMs: number, toMs: number): Float64Array {
  const values: number[] = [];
  for (const { samples } of run.clients) {
    for (let i = 0; i + 1 < samples.length; i += 2) {
      const atMs = samples[i] ?? 0;
      if (atMs >= fromMs && atMs <= toMs) values.push(samples[i + 1] ?? 0);
    }
  }
  return Float64Array.from(values);
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
