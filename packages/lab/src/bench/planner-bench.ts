/**
 * `npm run bench -- planner`: can one core keep up with a large fleet, and how far from the best possible plan are we? One
 * 10 s period of 1,000,000 sessions on 1,000 endpoints: fold their telemetry, forecast 6 metrics an endpoint, plan, and
 * answer inline; then compare plans with the linear-programming bound on small seeded fleets.
 */
import { performance } from 'node:perf_hooks';
import {
  createRandom,
  DEFAULT_OBJECTIVE,
  type FleetSnapshot,
  IdIndex,
  PanelForecaster,
  planMoves,
  SessionTable,
  type TelemetryBatch,
} from '@restitch/analytics';
import { VerdictList } from '@restitch/endpoint/internal';
import { createRandomFleet } from '@restitch/analytics/internal';
import { openHighs, planBound } from './planner-oracle.js';

/** Sizes; the defaults are the promise, tests run small. */
export interface PlannerBenchOptions {
  readonly sessions?: number;
  readonly endpoints?: number;
  readonly metrics?: number;
  /** Fleets compared with the bound, as [sessions, endpoints]. */
  readonly instances?: readonly (readonly [number, number])[];
}

/** Figures of one run, on one core. */
export interface PlannerBenchReport {
  readonly sessions: number;
  readonly endpoints: number;
  /** Folding one telemetry record of every session. */
  readonly ingestMs: number;
  readonly planMs: number;
  /** One period of all forecasts, refits included at their steady rate. */
  readonly forecastMs: number;
  readonly forecastSeries: number;
  /** Parts of forecastMs: the online step, and one refit of all panels divided by the periods between refits. */
  readonly forecastOnlineMs: number;
  readonly forecastRefitMs: number;
  readonly bytesPerSession: number;
  readonly idIndexBytesPerSession: number;
  readonly inlineNs: number;
  readonly idLookupNs: number;
  readonly moves: number;
  readonly optimumRatio: { readonly worst: number; readonly median: number; readonly instances: number };
}

/**
 * Twenty-two fleets up to 2,000 × 50, at least 25 sessions an endpoint: with a handful, indivisible sessions alone keep every
 * plan several percent below the bound, and the figure would say nothing about the planner.
 */
const INSTANCES: readonly (readonly [number, number])[] = [
  ...Array.from({ length: 8 }, (): [number, number] => [400, 10]),
  ...Array.from({ length: 6 }, (): [number, number] => [500, 20]),
  ...Array.from({ length: 5 }, (): [number, number] => [1_000, 30]),
  ...Array.from({ length: 3 }, (): [number, number] => [2_000, 50]),
];
const PERIOD_S = 10;
const HORIZONS = [1, 6, 12] as const;
/** Periods each panel runs before it is measured, so that trees are installed and rings are full. */
const WARM_PERIODS = 70;
const MEASURED_PERIODS = 5;
/** Periods between two refits once a panel is grown (eight hours of 10 s). */
const REFIT_PERIODS = 2_880;

/** Runs everything; about half a minute at full size. */
export async function runPlannerBench(options: PlannerBenchOptions = {}): Promise<PlannerBenchReport> {
  const sessions = options.sessions ?? 1_000_000;
  const endpoints = options.endpoints ?? 1_000;
  const fleet = createRandomFleet({ sessions, endpoints, seed: 1, troubled: 0.1 });
  const ingest = measureIngest(fleet);
  const plan = measurePlan(fleet);
  const ids = measureIds(sessions);
  const forecast = measureForecasts(endpoints, options.metrics ?? 6);
  return {
    sessions,
    endpoints,
    ingestMs: ingest.ms,
    planMs: plan.ms,
    forecastMs: forecast.onlineMs + forecast.refitMs,
    forecastSeries: endpoints * (options.metrics ?? 6),
    forecastOnlineMs: forecast.onlineMs,
    forecastRefitMs: forecast.refitMs,
    bytesPerSession: ingest.bytesPerSession,
    idIndexBytesPerSession: ids.bytesPerSession,
    inlineNs: plan.inlineNs,
    idLookupNs: ids.lookupNs,
    moves: plan.moves,
    optimumRatio: await measureOptimum(options.instances ?? INSTANCES),
  };
}

/** The median of five runs, each after telemetry of a new period. */
function measureIngest(fleet: FleetSnapshot): { ms: number; bytesPerSession: number } {
  const count = fleet.sessions.count;
  const table = new SessionTable(count);
  const batch: TelemetryBatch = {
    count,
    session: shuffled(count, 3),
    endpoint: new Int32Array(count),
    takenMs: new Float64Array(count),
    requests: new Float64Array(count),
    bytes: new Float64Array(count),
    imageBytes: new Float32Array(count),
  };
  const times: number[] = [];
  for (let period = 1; period <= 5; period++) {
    for (let i = 0; i < count; i++) {
      const s = batch.session[i]!;
      batch.endpoint[i] = fleet.sessions.endpoint[s]!;
      batch.takenMs[i] = period * PERIOD_S * 1000 + (i % 1000);
      batch.requests[i] = period * (s % 50);
      batch.bytes[i] = period * (s % 50) * 2_000;
      batch.imageBytes[i] = fleet.sessions.imageBytes[s]!;
    }
    const start = performance.now();
    table.fold(batch, 0.001, 1e-9);
    times.push(performance.now() - start);
  }
  return { ms: median(times), bytesPerSession: table.bytesPerSession };
}

function measurePlan(fleet: FleetSnapshot) {
  const times: number[] = [];
  let plan = planMoves(fleet, DEFAULT_OBJECTIVE);
  for (let run = 0; run < 5; run++) {
    const start = performance.now();
    plan = planMoves(fleet, DEFAULT_OBJECTIVE);
    times.push(performance.now() - start);
  }
  const verdicts = new VerdictList();
  const idOf = (handle: number): string => `session-${handle.toString(16).padStart(8, '0')}`;
  verdicts.push(
    {
      generation: 1,
      expiresInMs: 1_000,
      verdicts: plan.moves.map((m) => ({ session: idOf(m.session), target: `endpoint-${m.to}` })),
      complete: true,
    },
    0,
  );
  // Random sessions: a sequential walk would measure the cache.
  const ids = Array.from(shuffled(fleet.sessions.count, 5), idOf);
  let hits = 0;
  const start = performance.now();
  for (const id of ids) if (verdicts.targetOf(id, 500) !== undefined) hits++;
  const inlineNs = ((performance.now() - start) * 1e6) / ids.length;
  return {
    ms: median(times),
    moves: hits,
    inlineNs,
  };
}

function measureIds(count: number): { bytesPerSession: number; lookupNs: number } {
  const random = createRandom(7);
  const high = Uint32Array.from({ length: count }, () => random() * 4294967296);
  const low = Uint32Array.from({ length: count }, () => random() * 4294967296);
  const index = new IdIndex();
  for (let i = 0; i < count; i++) index.set(high[i]!, low[i]!, i);
  const order = shuffled(count, 8);
  let sum = 0;
  const start = performance.now();
  for (const i of order) sum += index.get(high[i]!, low[i]!);
  const lookupNs = ((performance.now() - start) * 1e6) / count;
  // Using the sum keeps the loop from being removed.
  return { bytesPerSession: index.byteLength / count, lookupNs: sum < 0 ? Number.NaN : lookupNs };
}

function measureForecasts(endpoints: number, metrics: number): { onlineMs: number; refitMs: number } {
  const random = createRandom(11);
  let onlineMs = 0;
  let refitMs = 0;
  for (let metric = 0; metric < metrics; metric++) {
    const panel = new PanelForecaster({
      seriesCount: endpoints,
      horizons: HORIZONS,
      stepS: PERIOD_S,
      calendar: true,
      seed: metric + 1,
    });
    const slow = Float64Array.from({ length: endpoints }, () => 10 * random());
    const values = new Float64Array(endpoints);
    const times: number[] = [];
    for (let period = 0; period < WARM_PERIODS + MEASURED_PERIODS; period++) {
      for (let s = 0; s < endpoints; s++) {
        slow[s] = slow[s]! + random() - 0.5;
        values[s] = slow[s]! + random();
      }
      const start = performance.now();
      panel.observe(period * PERIOD_S, values);
      if (period >= WARM_PERIODS) times.push(performance.now() - start);
      if (period === WARM_PERIODS - 1) {
        const trainStart = performance.now();
        panel.train();
        refitMs += (performance.now() - trainStart) / REFIT_PERIODS;
      }
    }
    onlineMs += median(times);
  }
  return { onlineMs, refitMs };
}

async function measureOptimum(instances: readonly (readonly [number, number])[]) {
  const solver = await openHighs();
  const ratios: number[] = [];
  instances.forEach(([sessions, endpoints], i) => {
    const fleet = createRandomFleet({ sessions, endpoints, seed: 100 + i, troubled: 0.3 });
    // Tight budgets on every second instance, so that all kinds of constraints bind somewhere.
    const objective =
      i % 2 === 0
        ? DEFAULT_OBJECTIVE
        : { ...DEFAULT_OBJECTIVE, maxMoves: Math.ceil(sessions / 40), maxMovesPerTarget: 5 };
    const bound = planBound(fleet, objective, solver);
    if (bound > 1e-9) ratios.push(planMoves(fleet, objective).value / bound);
  });
  ratios.sort((a, b) => a - b);
  return { worst: ratios[0] ?? Number.NaN, median: median(ratios), instances: ratios.length };
}

function shuffled(count: number, seed: number): Int32Array {
  const random = createRandom(seed);
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const swap = order[i]!;
    order[i] = order[j]!;
    order[j] = swap;
  }
  return order;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length % 2 === 1
    ? sorted[sorted.length >> 1]!
    : (sorted[sorted.length / 2 - 1]! + sorted[sorted.length / 2]!) / 2;
}
