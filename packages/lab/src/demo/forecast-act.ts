/**
 * The act in which load rises on one server. Two laboratories play the same traffic at the same time: in one the forecast acts, in
 * the other nobody does, so that the summary can say what would have been.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CliEnv } from '@restitch/console';
import { monotonicMs } from '../load/clients/monotonic.js';
import { sampleMs } from '../lab/predict/cpu-sampler.js';
import { horizonMs } from '../lab/predict/modes.js';
import type { PredictMode } from '../lab/predict/modes.js';
import { isOverloaded } from '../lab/predict/overload.js';
import { figuresOf } from '../lab/predict/predict-report.js';
import { runPredict } from '../lab/predict/predict-run.js';
import type { LiveRun, PredictRun } from '../lab/predict/predict-run.js';
import { loadedEndpoint } from '../lab/predict/traffic.js';
import type { DemoView } from './demo-view.js';
import { forecastLines } from './forecast-view.js';

/** The act in numbers. */
export interface ForecastSummary {
  /** With the forecast in charge, and without anybody. */
  readonly overloadSeconds: number;
  readonly overloadSecondsWithout: number;
  readonly moves: number;
  /** From the first session that left to the instant at which the limit would have been reached; null if either was not. */
  readonly leadSeconds: number | null;
  /** Clients that lost anything, in either laboratory. */
  readonly lost: number;
}

/** Of the pattern's full length: 15 s of traffic. */
const showScale = 0.3;
/** A rise in less than this no forecast can learn from. */
const leastScale = 0.25;
/** Two laboratories of three servers each share this machine. */
const cpuShare = 0.12;
const frameMs = 250;

/** Plays the act. */
export async function playForecast(env: CliEnv, view: DemoView, pace: number): Promise<ForecastSummary> {
  view.act('Last act  Load rises on one server. Twice the same traffic: with the forecast, and without');
  const live = new Map<PredictMode, LiveRun>();
  const play = (mode: PredictMode): Promise<PredictRun> =>
    runPredict(
      { ...env, err: () => undefined },
      {
        pattern: 'ramp',
        mode,
        seed: 1,
        cpuShare,
        endpoints: 3,
        scale: Math.max(leastScale, showScale * pace),
        isInverted: false,
        onStart: (run) => live.set(mode, run),
      },
    );
  const both = Promise.all([play('predictive'), play('none')]);
  const [acted, left] = await drawWhile(both, view, live);
  const summary = summarise(acted, left);
  view.note(formatForecast(summary));
  return summary;
}

/** What the summary says in a line. */
export function formatForecast(summary: ForecastSummary): string {
  const { overloadSeconds, overloadSecondsWithout, moves, leadSeconds, lost } = summary;
  const lead =
    leadSeconds === null || leadSeconds <= 0 ? '' : `, the first ${leadSeconds} s before the limit`;
  return (
    `forecast   ${moves} sessions left${lead}: ${overloadSeconds} s at the limit, ` +
    `${overloadSecondsWithout} s without the forecast; ${lost} clients lost anything`
  );
}

async function drawWhile<T>(work: Promise<T>, view: DemoView, live: Map<PredictMode, LiveRun>): Promise<T> {
  let isDone = false;
  const settled = work.finally(() => {
    isDone = true;
  });
  // Its rejection is seen at the end; without this it would be unhandled while frames are drawn.
  settled.catch(() => undefined);
  while (!isDone) {
    view.picture([
      ...linesOf(live.get('predictive'), 'with the forecast'),
      ...linesOf(live.get('none'), 'without'),
    ]);
    await Promise.race([sleep(frameMs), settled.catch(() => undefined)]);
  }
  return settled;
}

function linesOf(run: LiveRun | undefined, what: string): string[] {
  if (run === undefined) return [`  ${what}: the laboratory starts`];
  const { startMs, traffic } = run;
  const samples = (run.samples.get(loadedEndpoint) ?? []).filter((s) => s.atMs > startMs);
  const said = run.scores.latest(loadedEndpoint);
  const isFresh = said !== undefined && monotonicMs() < startMs + traffic.lengthMs;
  const title = `  ${what}: load of ${loadedEndpoint}, ${said?.sessions ?? 0} sessions${isFresh ? `, score ${said.score.toFixed(2)}` : ''}`;
  return forecastLines({
    title,
    loads: samples.map((s) => s.ratio),
    columns: Math.ceil((traffic.lengthMs + horizonMs) / sampleMs),
    ...(isFresh && said.p50 !== null && said.p90 !== null
      ? { forecast: { ahead: horizonMs / sampleMs, p50: said.p50, p90: said.p90 } }
      : {}),
  });
}

function summarise(acted: PredictRun, left: PredictRun): ForecastSummary {
  const withIt = figuresOf(acted, left);
  const without = figuresOf(left, undefined);
  const over = (left.samples.get(loadedEndpoint) ?? []).find((s) => s.atMs > left.startMs && isOverloaded(s));
  const first = acted.moves.find((move) => move.outcome === 'committed');
  const leadMs =
    over === undefined || first === undefined
      ? undefined
      : over.atMs - over.lengthMs - left.startMs - (first.atMs - acted.startMs);
  return {
    overloadSeconds: seconds(withIt.overloadSeconds),
    overloadSecondsWithout: seconds(without.overloadSeconds),
    moves: withIt.moves,
    leadSeconds: leadMs === undefined ? null : seconds(leadMs / 1000),
    lost: withIt.lost + without.lost,
  };
}

function seconds(value: number): number {
  return Math.round(10 * value) / 10;
}
