/**
 * The load of every endpoint, from several metrics on one scale: each metric in shares of its limit, the highest counts
 * (dominant resource, Ghodsi et al. 2011), times the CPUs of the endpoint. So loads of endpoints of different size add up.
 */
import type { EndpointMetrics } from '@restitch/wire/internal';
import type { MovedFlow } from '../control/moved-load.js';
import type { Skill } from '../control/skill-tracker.js';
import type { EndpointBook, EndpointEntry } from './endpoint-book.js';
import type { EngineOptions } from './engine-options.js';
import type { OwnModelRows } from '../risk/own-model.js';
import { DemandMeter } from './demand-meter.js';
import { MetricForecast, type ModelNews } from './metric-forecast.js';
import { parseStoredModel, type StoredMetric } from './stored-model.js';

/** Metrics that are forecast; those with a limit also make endpoints leave. */
const FORECAST_METRICS = ['cpu', 'memory', 'io', 'app'] as const;
/** One of them. */
export type ForecastMetric = (typeof FORECAST_METRICS)[number];

/** Endpoints there is room for at first; more doubles it, and the forecasts start anew. */
const FIRST_CAPACITY = 32;
/** What else of an endpoint helps to forecast its CPU. */
const AUX_COUNT = 6;
/** Seconds in which work that waits is to be done: so much more is asked of the endpoint until then. */
const BACKLOG_S = 2;
/** Values kept for pictures. */
const PAST_STEPS = 300;

/** One endpoint's load in CPUs. */
export interface LoadView {
  /** What is asked of it, which may be more than it can do; NaN while unknown. */
  readonly now: number;
  readonly p50: number;
  readonly p90: number;
  /** Of what is asked now and the highest median, the larger, by the metric that is nearest to its limit in this. */
  readonly expected: number;
  /** What is asked now, by the metric that is nearest to its limit now. */
  readonly most: number;
  /** What work that waits asks for besides, until it is done. */
  readonly waiting: number;
  /** Above it sessions are disturbed. */
  readonly limit: number;
  /** Of crossing it within the longest horizon; NaN = unknown. */
  readonly risk: number;
  /** There is no figure of its CPU: it may be idle or full. */
  readonly isUnknown: boolean;
  /** The metric that is nearest to its limit. */
  readonly metric: ForecastMetric;
}

/** See the head of the file. */
export class LoadForecasts {
  private readonly panels = new Map<ForecastMetric, MetricForecast>();
  private readonly values = new Map<ForecastMetric, Float64Array>();
  private capacity = FIRST_CAPACITY;
  private timeS = 0;
  private lastMs = Number.NaN;
  /** Per endpoint the past of each metric, newest last. */
  private readonly pasts = new Map<string, number[]>();
  private readonly lastKnown = new Map<string, number>();
  /** Endpoints that have ever told their own use of CPU. */
  private readonly hasOwnCpu = new Set<number>();
  private readonly meter = new DemandMeter();
  /** Demand for CPU as of the last tick, a share of the quota; NaN while unknown. */
  private demands: number[] = [];
  /** True once after the forecasts had to start anew. */
  hasRestarted = false;

  /** True once after a stored model could not be used. */
  isModelRefused = false;
  private readonly stored: Readonly<Record<string, StoredMetric>> | undefined;

  constructor(private readonly options: EngineOptions) {
    if (options.storedModel === undefined) return;
    this.stored = parseStoredModel(options.storedModel);
    this.isModelRefused = this.stored === undefined;
  }

  /** One tick. `flows`: CPUs of load that is elsewhere than it would be; `demand(e)`: its sessions' requests a second. */
  observe(
    book: EndpointBook,
    nowMs: number,
    flows: readonly MovedFlow[],
    demand: (e: number) => number,
  ): ModelNews[] {
    this.makeRoom(book.count);
    this.advance(nowMs);
    const figures = book.entries.map((entry) => book.takeFigures(entry, nowMs));
    const periodS = this.options.periodMs / 1000;
    this.demands = book.entries.map((entry, e) => {
      const { cpuRatio = Number.NaN } = figures[e]!;
      return this.meter.observe(e, cpuRatio, coresOf(entry), book.takeRequests(entry), periodS);
    });
    const aux = this.auxOf(book, figures, demand);
    const news: ModelNews[] = [];
    for (const metric of FORECAST_METRICS) {
      const values = new Float64Array(this.capacity).fill(Number.NaN);
      figures.forEach((f, e) => (values[e] = this.valueOf(metric, f, e)));
      const isSeen = values.some((v) => v === v);
      if (!isSeen && !this.panels.has(metric)) continue;
      this.values.set(metric, values);
      const moved = flows.map(({ from, to, load }) => ({
        from,
        to,
        left: load / coresOf(book.entries[from]!),
        came: load / coresOf(book.entries[to]!),
      }));
      for (const entry of book.entries) this.note(metric, entry.index, values[entry.index]!);
      news.push(
        ...this.panelOf(metric).observe(this.timeS, values, moved, metric === 'cpu' ? aux : undefined),
      );
    }
    return news;
  }

  /** The load of an endpoint as of the last tick. */
  view(entry: EndpointEntry): LoadView {
    const cores = coresOf(entry);
    const cpuLimit = this.options.limits.cpu;
    let best: LoadView = {
      now: Number.NaN,
      p50: Number.NaN,
      p90: Number.NaN,
      expected: Number.NaN,
      most: Number.NaN,
      waiting: this.meter.backlog(entry.index) / BACKLOG_S,
      limit: cpuLimit * cores,
      risk: Number.NaN,
      isUnknown: !((this.values.get('cpu')?.[entry.index] ?? Number.NaN) >= 0),
      metric: 'cpu',
    };
    for (const [metric, forecast] of this.panels) {
      const limit = this.limitOf(metric);
      if (limit === undefined) continue;
      const known = this.lastKnown.get(`${metric} ${entry.index}`);
      if (known === undefined) continue;
      const present = this.values.get(metric)?.[entry.index] ?? Number.NaN;
      const peak = forecast.peak(entry.index);
      const scale = (cpuLimit * cores) / limit;
      const risk = forecast.risk(entry.index);
      // What is not reported any more is taken at its last value and its last forecast: uncertain, not idle.
      const now = Number.isNaN(present) ? known : present;
      const isWorse = !(Math.max(now, peak.p90) * scale <= Math.max(best.now, best.p90));
      const p50 = Number.isNaN(peak.p50) ? now : peak.p50;
      best = {
        ...best,
        risk: Number.isNaN(best.risk) || risk > best.risk ? risk : best.risk,
        expected: larger(best.expected, Math.max(now, p50) * scale),
        most: larger(best.most, now * scale),
      };
      if (!isWorse) continue;
      best = {
        ...best,
        now: now * scale,
        p50: p50 * scale,
        p90: (Number.isNaN(peak.p90) ? now : peak.p90) * scale,
        metric,
      };
    }
    return best.isUnknown ? widened(best) : best;
  }

  /** CPUs asked of an endpoint as of the last tick, work that waits not counted; NaN while unknown. */
  demandOf(entry: EndpointEntry): number {
    return (this.demands[entry.index] ?? Number.NaN) * coresOf(entry);
  }

  /** Skill of the metric that decides most: CPU, or what there is instead. */
  get skill(): Skill | undefined {
    return (this.panels.get('cpu') ?? [...this.panels.values()].find((p) => p.isLimited))?.skill;
  }

  trainingDue(): boolean {
    return [...this.panels.values()].some((panel) => panel.trainingDue());
  }

  train(isForced: boolean): ModelNews[] {
    return [...this.panels.values()].flatMap((panel) => panel.train(isForced));
  }

  /** All that is trained, by metric. */
  store(): Readonly<Record<string, StoredMetric>> {
    return Object.fromEntries(
      [...this.panels].flatMap(([metric, panel]) => {
        const stored = panel.store();
        return stored === undefined ? [] : [[metric, stored]];
      }),
    );
  }

  /** Input vectors of the first `count` endpoints for the operator's own model. */
  ownModelRows(count: number): OwnModelRows | undefined {
    const { ownModel } = this.options;
    const panel = ownModel === undefined ? undefined : this.panels.get(ownModel);
    return panel === undefined ? undefined : panel.ownModelRows(count);
  }

  /** Its answer. */
  giveOwnScores(scores: readonly (number | null)[]): void {
    const { ownModel } = this.options;
    if (ownModel !== undefined) this.panels.get(ownModel)?.own?.give(scores);
  }

  rollback(): boolean {
    return [...this.panels.values()].map((panel) => panel.rollback()).includes(true);
  }

  /** Panels by metric, for reports and the store. */
  all(): ReadonlyMap<ForecastMetric, MetricForecast> {
    return this.panels;
  }

  /** All metrics of an endpoint: past values, and the forecast of each horizon. */
  forecast(entry: EndpointEntry): object[] {
    return [...this.panels].map(([metric, panel]) => ({
      metric,
      limit: this.limitOf(metric) ?? null,
      past: this.pasts.get(`${metric} ${entry.index}`) ?? [],
      horizons: panel.panel.horizons.map((h, i) => ({
        aheadS: (h * this.options.periodMs) / 1000,
        ...plainBand(panel.band(entry.index, i)),
      })),
    }));
  }

  /** Without a quota the host's CPU stands for the endpoint's own; never in between, which would be two units in one series. */
  private valueOf(metric: ForecastMetric, f: EndpointMetrics, e: number): number {
    if (metric !== 'cpu') return valueOf(metric, f);
    if (f.cpuRatio === undefined) return this.hasOwnCpu.has(e) ? Number.NaN : valueOf('cpu', f);
    this.hasOwnCpu.add(e);
    return valueOf('cpu', { ...f, cpuRatio: this.demands[e]! });
  }

  private limitOf(metric: ForecastMetric): number | undefined {
    return this.options.limits[metric];
  }

  private panelOf(metric: ForecastMetric): MetricForecast {
    const known = this.panels.get(metric);
    if (known !== undefined) return known;
    const aux = metric === 'cpu' ? AUX_COUNT : 0;
    const stored = this.stored?.[metric];
    const made = new MetricForecast(metric, this.capacity, aux, this.limitOf(metric), this.options, stored);
    if (stored !== undefined && !made.isRestored) this.isModelRefused = true;
    this.panels.set(metric, made);
    return made;
  }

  private makeRoom(count: number): void {
    if (count <= this.capacity) return;
    while (this.capacity < count) this.capacity *= 2;
    this.panels.clear();
    this.hasRestarted = true;
  }

  /** Ticks count as regular unless one was missed: a loaded machine must not break every series. */
  private advance(nowMs: number): void {
    const elapsedS = (nowMs - this.lastMs) / 1000;
    const stepS = this.options.periodMs / 1000;
    this.timeS += Number.isNaN(elapsedS) || (elapsedS > 0 && elapsedS < 3 * stepS) ? stepS : 10 * stepS;
    this.lastMs = nowMs;
  }

  private note(metric: ForecastMetric, e: number, value: number): void {
    const key = `${metric} ${e}`;
    const past = this.pasts.get(key) ?? [];
    past.push(Number.isFinite(value) ? Number(value.toPrecision(6)) : Number.NaN);
    if (past.length > PAST_STEPS) past.shift();
    this.pasts.set(key, past);
    if (Number.isFinite(value)) this.lastKnown.set(key, value);
  }

  private auxOf(
    book: EndpointBook,
    figures: readonly EndpointMetrics[],
    demand: (e: number) => number,
  ): Float32Array {
    const aux = new Float32Array(this.capacity * AUX_COUNT).fill(Number.NaN);
    for (const { index, total } of book.entries) {
      const f = figures[index]!;
      const row = [demand(index), total, f.pressureCpu, f.eventLoopDelayMs, f.memoryRatio, f.ioRatio];
      row.forEach((value, a) => (aux[index * AUX_COUNT + a] = value ?? Number.NaN));
    }
    return aux;
  }
}

/** CPUs of an endpoint; 1 while it has not said. */
export function coresOf(entry: EndpointEntry): number {
  const cores = entry.metrics.cpuLimitCores;
  return cores !== undefined && cores > 0 ? cores : 1;
}

/** A load of which nothing is known: anything from nothing to the limit, and one time in ten beyond. */
function widened(view: LoadView): LoadView {
  return {
    ...view,
    p50: larger(view.p50, view.limit / 2),
    p90: larger(view.p90, view.limit),
    expected: larger(view.expected, view.limit),
  };
}

/** The larger of two, of which either may be NaN = unknown. */
function larger(a: number, b: number): number {
  return a >= b || Number.isNaN(b) ? a : b;
}

function valueOf(metric: ForecastMetric, f: EndpointMetrics): number {
  const value =
    metric === 'cpu'
      ? (f.cpuRatio ?? f.hostCpuRatio)
      : metric === 'memory'
        ? f.memoryRatio
        : metric === 'io'
          ? f.ioRatio
          : f.appLoad === undefined || !(f.appCapacity! > 0)
            ? undefined
            : f.appLoad / f.appCapacity!;
  return value !== undefined && Number.isFinite(value) && value >= 0 ? value : Number.NaN;
}

function plainBand(band: { p10: number; p50: number; p90: number }): object {
  const plain = (v: number): number | null => (Number.isFinite(v) ? v : null);
  return { p10: plain(band.p10), p50: plain(band.p50), p90: plain(band.p90) };
}
