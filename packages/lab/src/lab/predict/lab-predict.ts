/** `restitch lab predict`: the same traffic under several modes of the analytics module, on endpoints with real CPU quotas. */
import { writeFileSync } from 'node:fs';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import type { PredictMode } from './modes.js';
import { plotRuns } from './predict-plot.js';
import type { ScoredOutcome } from './calibration.js';
import { createPredictReport, figuresOf, outcomesOf } from './predict-report.js';
import type { FallBack, PredictReport, RunFigures } from './predict-report.js';
import { runPredict } from './predict-run.js';
import type { PredictRun } from './predict-run.js';
import type { TrafficPattern } from './traffic.js';

/** Options of `lab predict`. */
export interface LabPredictOptions {
  readonly pattern: TrafficPattern;
  readonly model?: 'inverted';
  readonly repeats: number;
  readonly seed: number;
  readonly modes: readonly PredictMode[];
  readonly endpoints: number;
  readonly cpuShare: number;
  readonly scale: number;
  readonly plot?: string;
  readonly json?: boolean;
}

/** Runs all repeats; 0 only if nothing was lost, and an inverted model was found out. */
export async function runLabPredict(env: CliEnv, options: LabPredictOptions): Promise<number> {
  const figures = new Map<PredictMode, RunFigures[]>(options.modes.map((mode) => [mode, []]));
  const outcomes: ScoredOutcome[] = [];
  const fallBacks: FallBack[] = [];
  for (let repeat = 0; repeat < options.repeats; repeat++) {
    const runs = await runRepeat(env, options, repeat);
    const reference = runs.find((run) => run.mode === 'none');
    const fallBack = options.model === 'inverted' ? fallBackOf(runs) : undefined;
    if (fallBack !== undefined) fallBacks.push(fallBack);
    const notBeforeMs = 1000 * (fallBack?.afterSeconds ?? 0);
    for (const run of runs) figures.get(run.mode)?.push(figuresOf(run, reference, notBeforeMs));
    if (reference !== undefined) outcomes.push(...outcomesOf(reference));
    if (repeat === 0 && options.plot !== undefined) {
      writeFileSync(options.plot, plotRuns(options.pattern, inOrder(options.modes, runs)));
    }
  }
  const report: PredictReport = {
    ...createPredictReport(options.pattern, figures, outcomes),
    ...(options.model === 'inverted' ? { fallBacks } : {}),
  };
  env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatReport(report));
  const isStuck = fallBacks.some((fallBack) => fallBack.afterSeconds === null);
  return report.lost === 0 && !isStuck ? exitCodes.ok : exitCodes.failed;
}

/** All modes once, on one seed; who begins changes from repeat to repeat, so that no mode always has the warmer machine. */
async function runRepeat(env: CliEnv, options: LabPredictOptions, repeat: number): Promise<PredictRun[]> {
  const seed = options.seed + repeat;
  const first = repeat % options.modes.length;
  const rotated = [...options.modes.slice(first), ...options.modes.slice(0, first)];
  const runs: PredictRun[] = [];
  for (const mode of rotated) {
    const run = await runPredict(env, { ...options, seed, mode, isInverted: options.model === 'inverted' });
    runs.push(run);
    const { overloadSeconds, moves, clientP99Ms, lost } = figuresOf(run, undefined);
    env.err(
      `repeat ${repeat + 1} of ${options.repeats}, seed ${seed}, ${mode}: ${overloadSeconds} s over the limit, ` +
        `${moves} moves, p99 ${clientP99Ms} ms, ${lost} lost\n`,
    );
  }
  return runs;
}

function fallBackOf(runs: readonly PredictRun[]): FallBack | undefined {
  const run = runs.find((candidate) => candidate.mode === 'predictive');
  if (run === undefined) return undefined;
  const { fellBackAtMs } = run.statements;
  const afterSeconds = fellBackAtMs === undefined ? null : Math.round(fellBackAtMs - run.startMs) / 1000;
  return { seed: run.seed, afterSeconds };
}

function inOrder(modes: readonly PredictMode[], runs: readonly PredictRun[]): PredictRun[] {
  return modes.flatMap((mode) => runs.filter((run) => run.mode === mode));
}

function formatNotices(report: PredictReport): string[] {
  return Object.entries(report.modes).flatMap(([mode, { runs }]) =>
    runs.flatMap(({ notice, seed }) =>
      notice === undefined
        ? []
        : [
            `${mode}, seed ${seed}: ${notice.left} of ${notice.sessions} sessions left at the deadline of ${notice.noticeMs} ms, ` +
              `last away after ${notice.emptyAfterMs} ms, ${notice.movedTwice} moved twice, precious first in ${notice.preciousFirst} of pairs`,
          ],
    ),
  );
}

function formatReport(report: PredictReport): string {
  const { calibration } = report;
  const rows = Object.entries(report.modes).map(
    ([mode, m]) =>
      `${mode.padEnd(12)} ${m.overloadSeconds.toFixed(2).padStart(8)} ${m.clientP99Ms.toFixed(0).padStart(8)} ` +
      `${String(m.moves).padStart(6)} ${String(m.uselessMoves).padStart(8)} ${String(m.reverted).padStart(9)} ${String(m.lost).padStart(5)}`,
  );
  const ratios = Object.entries(report.ratios).map(
    ([mode, r]) =>
      `predictive / ${mode.padEnd(10)} ${r.median.toFixed(2)}  [${r.low.toFixed(2)}, ${r.high.toFixed(2)}] ` +
      `(${(100 * r.coverage).toFixed(0)} %, ${r.pairs} pairs)`,
  );
  return [
    `${report.pattern}, ${report.repeats} repeats; medians`,
    'mode         overload s   p99 ms  moves  useless  reverted  lost',
    ...rows,
    ...ratios,
    ...(report.fallBacks ?? []).map(
      ({ seed, afterSeconds }) =>
        `seed ${seed}: fell back to the reactive rule ${afterSeconds ?? 'never'} s after the beginning`,
    ),
    ...formatNotices(report),
    ...(calibration === null
      ? []
      : [
          `scores: calibration error ${calibration.error.toFixed(3)}, mean ${calibration.meanScore.toFixed(3)}, ` +
            `undisturbed ${calibration.undisturbed.toFixed(3)}`,
        ]),
    '',
  ].join('\n');
}
