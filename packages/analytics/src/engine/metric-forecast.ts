/**
 * One metric of all endpoints, live: its forecasts, and if it has a limit the calibrated risk of crossing it, with the skill of
 * what was said. A newly fitted classifier runs in shadow beside the active one until it has proven better.
 */
import { ModelSlots } from '../control/model-slots.js';
import { SkillTracker, type Skill } from '../control/skill-tracker.js';
import { PanelForecaster } from '../forecast/panel-forecaster.js';
import { exceedanceProbability } from '../risk/exceedance.js';
import { OverloadModel } from '../risk/overload-model.js';
import { type OwnModelRows, OwnScores, type RawScorer } from '../risk/own-model.js';
import { OverloadWatch } from '../risk/overload-watch.js';
import { createRandom } from '../seeded-random.js';
import type { EngineOptions } from './engine-options.js';
import { decodeMetric, encodeMetric, type StoredMetric } from './stored-model.js';
import { MovedShares } from './moved-shares.js';
import type { SeriesFlow } from './moved-shares.js';
import { ReliabilityBins } from './reliability-bins.js';

/** Quantiles that are issued; the median stands beside them. */
const RATIOS = [0.1, 0.9] as const;
/** New rows after which the classifier is fitted again, at least and as a share of all. */
const FIT_ROWS = 600;
const FIT_GROWTH = 0.5;
/** Matured forecasts in memory of the skill against the last value. */
const PINBALL_MEMORY = 2000;

/** Moved load is forecast to grow at most so much: a forecast near nought would say anything. */
const MAX_GROWTH = 4;

/** A classifier with its own calibration; `model` is undefined where the forecast's bands answer alone, or an operator's own model. */
interface Candidate {
  readonly kind: 'own' | 'trees' | 'bands';
  readonly model: OverloadModel | undefined;
  readonly watch: OverloadWatch;
  readonly losses: Map<number, number>;
}

/** What became of a fit or a trial. */
export type ModelNews = 'trained' | 'promoted' | 'discarded';

/** See the head of the file. */
export class MetricForecast {
  readonly panel: PanelForecaster;
  readonly bins = new ReliabilityBins();
  private readonly limits: Float64Array | undefined;
  private readonly slots: ModelSlots<Candidate> | undefined;
  private readonly pinball: readonly SkillTracker[];
  /** Per horizon and step: medians, lows, highs and values of all series, as they were issued. */
  private readonly issued: readonly Float64Array[][];
  private readonly covered: { hits: number; cases: number }[];
  /** True if a stored model was taken up. */
  isRestored = false;
  /** What the operator's own model says, if one scores this metric. */
  readonly own: OwnScores | undefined;
  private fittedAt = 0;
  private step = -1;
  private moved: MovedShares;
  private without: Float64Array;

  constructor(
    readonly name: string,
    private readonly seriesCount: number,
    auxCount: number,
    limit: number | undefined,
    private readonly options: EngineOptions,
    stored?: StoredMetric,
  ) {
    const horizons = options.horizonsS.map((s) => Math.max(1, Math.round((s * 1000) / options.periodMs)));
    this.panel = new PanelForecaster({
      seriesCount,
      horizons,
      stepS: options.periodMs / 1000,
      calendar: false,
      auxCount,
      trainingRows: limit === undefined ? 0 : options.trainingRows,
      seed: options.seed,
    });
    this.pinball = horizons.map(
      (h) => new SkillTracker({ memoryCases: PINBALL_MEMORY, minCases: 50, overlap: h }),
    );
    this.issued = horizons.map(() => []);
    this.covered = horizons.map(() => ({ hits: 0, cases: 0 }));
    this.without = new Float64Array(seriesCount).fill(Number.NaN);
    this.moved = new MovedShares(this.without, []);
    if (limit === undefined) return;
    this.limits = new Float64Array(seriesCount).fill(limit);
    const active = this.restoreModel(stored);
    const before = stored?.before?.overload;
    const builtIn = this.candidate(active);
    const previous = before === undefined ? undefined : this.candidate(this.restoreTrees(before));
    if (options.ownModel === name) {
      // The operator's word: it decides from the start. What is built in runs in shadow, and takes over by being better.
      this.own = new OwnScores(seriesCount);
      this.slots = new ModelSlots(this.candidate(undefined, this.own));
      this.slots.train(builtIn);
    } else this.slots = new ModelSlots(builtIn, previous);
  }

  get isLimited(): boolean {
    return this.slots !== undefined;
  }

  /** One step: `values[s]` as observed (NaN = missing), `flows` the load that is elsewhere than it would be, in units of the values. */
  observe(
    timeS: number,
    values: Float64Array,
    flows: readonly SeriesFlow[],
    aux?: Float32Array,
  ): ModelNews[] {
    this.step++;
    this.moved = new MovedShares(values, flows);
    const { corrections } = this.moved;
    const without = values.map((v, s) => v + corrections[s]!);
    this.without = without;
    this.scorePinball(without);
    this.panel.observe(timeS, without, aux);
    const trial = this.panel.decideTrial();
    this.remember(without);
    this.own?.next();
    const news = this.stepWatches(values, corrections);
    return trial === undefined ? news : [trial, ...news];
  }

  /** Risk of crossing the limit within the longest horizon; NaN when unknown. */
  risk(series: number): number {
    const risk = this.slots?.active.watch.risks[series] ?? Number.NaN;
    if (this.moved.of(series).arrived.length === 0 || this.options.model === 'inverted') return risk;
    // The watch knows what the series would be without moves; what came brings the uncertainty of where it came from.
    return Math.max(risk, this.riskWithArrivals(series));
  }

  private riskWithArrivals(series: number): number {
    const limit = this.limits![series]!;
    let most = 0;
    for (let h = 0; h < this.panel.horizons.length; h++) {
      const risk = exceedanceProbability(this.band(series, h), limit);
      if (risk > most) most = risk;
    }
    return most;
  }

  /** Skill of the given risks against the reactive rule. */
  get skill(): Skill | undefined {
    return this.slots?.active.watch.skill;
  }

  /** Forecast of a series as it will show itself, moves made so far included. */
  band(series: number, h: number): { readonly p10: number; readonly p50: number; readonly p90: number } {
    const cell = series * this.panel.horizons.length + h;
    const { medians, quantiles } = this.panel;
    const { stays, arrived } = this.moved.of(series);
    const at = (values: Float64Array, width: number, offset: number): number => {
      const growthOf = (from: number): number =>
        this.growth(from, values[(from * this.panel.horizons.length + h) * width + offset]!);
      const came = arrived.reduce((sum, flow) => sum + flow.came * growthOf(flow.from), 0);
      return Math.max(0, values[cell * width + offset]! * stays + came);
    };
    return {
      p10: at(quantiles, RATIOS.length, 0),
      p50: at(medians, 1, 0),
      p90: at(quantiles, RATIOS.length, 1),
    };
  }

  /** How the load that would be at a series goes on, against its present: what left it goes on alike elsewhere. */
  private growth(series: number, coming: number): number {
    const present = this.without[series]!;
    const growth = coming / present;
    return present > 0 && growth >= 0 ? Math.min(MAX_GROWTH, growth) : 1;
  }

  /** The limit as it stands for the load without moves: it is that load which is forecast. */
  private limitsWithout(limits: Float64Array): Float64Array {
    const { horizons, medians } = this.panel;
    const growthOf = (from: number): number => this.growth(from, medians[(from + 1) * horizons.length - 1]!);
    return limits.map((limit, series) => {
      const { stays, arrived } = this.moved.of(series);
      const came = arrived.reduce((sum, flow) => sum + flow.came * growthOf(flow.from), 0);
      return stays > 0 ? (limit - came) / stays : Number.POSITIVE_INFINITY;
    });
  }

  /** Highest median and P90 over the horizons. */
  peak(series: number): { readonly p50: number; readonly p90: number } {
    let p50 = Number.NaN;
    let p90 = Number.NaN;
    for (let h = 0; h < this.panel.horizons.length; h++) {
      const band = this.band(series, h);
      if (!(band.p50 <= p50)) p50 = band.p50;
      if (!(band.p90 <= p90)) p90 = band.p90;
    }
    return { p50, p90: Math.max(p90, p50) };
  }

  /** The documented input vector of the first `count` series: the features, and the distance to the limit. */
  ownModelRows(count: number): OwnModelRows {
    const { panel, limits, without, name } = this;
    const width = panel.frame.featureCount + 1;
    const rows = new Float32Array(count * width);
    for (let s = 0; s < count; s++) {
      rows.set(panel.featuresOf(s), s * width);
      rows[(s + 1) * width - 1] = ((limits?.[s] ?? Number.NaN) - without[s]!) / panel.frame.scale(s);
    }
    return { metric: name, rows, count, width };
  }

  /** Whether `train` has something to do. */
  trainingDue(): boolean {
    return this.panel.trainingDue() || this.isFitDue();
  }

  /** Fits what is due (or all that can be, by the operator's word); a new classifier goes into shadow. */
  train(isForced: boolean): ModelNews[] {
    const { panel, slots, limits } = this;
    const news: ModelNews[] = [];
    if (panel.trainingDue()) {
      panel.trainInShadow();
      news.push('trained');
    }
    if (slots === undefined || limits === undefined) return news;
    if (!this.isFitDue() && !(isForced && panel.rows.count > 0)) return news;
    this.fittedAt = panel.rows.added;
    const random = createRandom(this.options.seed + panel.rows.added);
    const model = new OverloadModel(
      panel.rows,
      panel.frame.featureCount,
      panel.horizons.length,
      limits,
      random,
    );
    model.train();
    if (model.trees?.byHorizon.at(-1) === undefined) return news;
    slots.train(this.candidate(model));
    return [...news, 'trained'];
  }

  /** What is trained, for the store; undefined while nothing is. */
  store(): StoredMetric | undefined {
    const { panel, slots } = this;
    const { names } = panel.frame;
    const stored = encodeMetric(panel.model, slots?.active.model?.trees, names);
    const trees = panel.previous;
    const before = slots?.previous;
    if (trees === undefined && before === undefined) return stored;
    return {
      ...stored,
      before: {
        ...(trees === undefined ? {} : { panel: encodeMetric(trees.model, undefined, names) ?? {} }),
        ...(before === undefined
          ? {}
          : { overload: encodeMetric(undefined, before.model?.trees, names) ?? {} }),
      },
    };
  }

  rollback(): boolean {
    const wasPanel = this.panel.rollBack();
    return (this.slots?.rollback() ?? false) || wasPanel;
  }

  /** How good it has been, for people. */
  report(): object {
    const { slots, panel } = this;
    return {
      metric: this.name,
      horizonsS: panel.horizons.map((h) => (h * this.options.periodMs) / 1000),
      pinball: this.pinball.map((t) => plainSkill(t.get())),
      coverage80: this.covered.map(({ hits, cases }) => (cases < 50 ? null : hits / cases)),
      trees: panel.model !== undefined,
      treesInShadow: panel.trial === undefined ? null : plainSkill(panel.trial.skill),
      rows: panel.rows.count,
      overload:
        slots === undefined
          ? null
          : {
              limit: this.limits?.[0] ?? null,
              brierSkill: plainSkill(slots.active.watch.skill),
              calibrationError: this.bins.error(),
              reliability: this.bins.rows(),
              model: slots.active.kind,
              shadow: slots.shadow === undefined ? null : plainSkill(slots.shadowSkill),
              canRollBack: slots.previous !== undefined || panel.previous !== undefined,
            },
    };
  }

  private isFitDue(): boolean {
    if (this.slots === undefined || this.options.trainingRows === 0 || this.slots.shadow !== undefined)
      return false;
    const { rows } = this.panel;
    return rows.added - this.fittedAt >= Math.max(FIT_ROWS, FIT_GROWTH * this.fittedAt);
  }

  /** Takes up what was stored; what does not fit this panel is left. */
  private restoreModel(stored: StoredMetric | undefined): OverloadModel | undefined {
    const { panel, limits } = this;
    if (stored === undefined || limits === undefined) return undefined;
    const { panelModel, trees } = decodeMetric(stored, panel.frame.names);
    this.isRestored = panelModel !== undefined || trees !== undefined;
    panel.model = panelModel;
    const before = stored.before?.panel;
    if (before !== undefined) panel.previous = { model: decodeMetric(before, panel.frame.names).panelModel };
    return trees === undefined ? undefined : this.restoreTrees(stored);
  }

  private restoreTrees(stored: StoredMetric): OverloadModel | undefined {
    const { panel, limits, options } = this;
    const { trees } = decodeMetric(stored, panel.frame.names);
    if (trees === undefined || limits === undefined) return undefined;
    const { rows, frame, horizons } = panel;
    const random = createRandom(options.seed);
    const model = new OverloadModel(rows, frame.featureCount, horizons.length, limits, random);
    model.trees = trees;
    return model;
  }

  private candidate(model: OverloadModel | undefined, own?: RawScorer): Candidate {
    const losses = new Map<number, number>();
    const { model: kind, skillMemory } = this.options;
    const watch: OverloadWatch = new OverloadWatch({
      panel: this.panel,
      limits: this.limits!,
      skillMemory,
      ...(own === undefined ? {} : { scorer: own }),
      ...(model === undefined ? {} : { scorer: model.lastHorizonScorer() }),
      ...(kind === 'inverted' ? { distort: (p: number) => 1 - p } : {}),
      onCase: (series, said, label) => {
        losses.set(series, (said - label) ** 2);
        if (this.slots?.active.watch === watch) this.bins.add(said, label);
      },
    });
    return {
      kind: own !== undefined ? 'own' : model === undefined ? 'bands' : 'trees',
      model,
      watch,
      losses,
    };
  }

  /** All candidates see all steps, so that each can be judged, and gone back to, at any time. */
  private stepWatches(values: Float64Array, corrections: Float64Array): ModelNews[] {
    const { slots } = this;
    if (slots === undefined) return [];
    const { active, shadow, previous } = slots;
    const limits = this.limitsWithout(this.limits!);
    for (const candidate of [active, shadow, previous]) {
      candidate?.losses.clear();
      candidate?.watch.step(values, corrections, limits);
    }
    const news: ModelNews[] = [];
    for (let s = 0; s < values.length; s++) {
      for (const c of [active, shadow, previous])
        if (c !== undefined && !Number.isFinite(values[s]!)) c.watch.risks[s] = Number.NaN;
      const loss = active.losses.get(s);
      const other = shadow?.losses.get(s);
      if (loss === undefined || other === undefined) continue;
      const event = slots.record(other, loss);
      if (event !== undefined) news.push(event);
      if (event !== undefined) break;
    }
    return news;
  }

  private remember(values: Float64Array): void {
    const { panel, issued, seriesCount } = this;
    panel.horizons.forEach((horizon, h) => {
      const row = new Float64Array(seriesCount * 4);
      for (let s = 0; s < seriesCount; s++) {
        const cell = s * panel.horizons.length + h;
        const known = Number.isFinite(values[s]!);
        row[s * 4] = known ? panel.medians[cell]! : Number.NaN;
        row[s * 4 + 1] = panel.quantiles[cell * 2]!;
        row[s * 4 + 2] = panel.quantiles[cell * 2 + 1]!;
        row[s * 4 + 3] = values[s]!;
      }
      issued[h]![this.step % horizon] = row;
    });
  }

  /** Forecasts whose time has come, against the last value taken for all quantiles. */
  private scorePinball(values: Float64Array): void {
    const { panel, issued, pinball } = this;
    panel.horizons.forEach((horizon, h) => {
      const row = issued[h]![this.step % horizon];
      if (row === undefined) return;
      for (let s = 0; s < values.length; s++) {
        const [median, low, high, last] = row.subarray(s * 4, s * 4 + 4);
        const actual = values[s]!;
        if (!Number.isFinite(actual) || !Number.isFinite(median!)) continue;
        const own = pin(actual, low!, 0.1) + pin(actual, median!, 0.5) + pin(actual, high!, 0.9);
        const naive = pin(actual, last!, 0.1) + pin(actual, last!, 0.5) + pin(actual, last!, 0.9);
        pinball[h]!.record(own, naive);
        const cover = this.covered[h]!;
        cover.cases = cover.cases * (1 - 1 / PINBALL_MEMORY) + 1;
        cover.hits = cover.hits * (1 - 1 / PINBALL_MEMORY) + (actual >= low! && actual <= high! ? 1 : 0);
      }
    });
  }
}

/** Skill with what JSON can say. */
export function plainSkill(skill: Skill): { skill: number | null; certainty: number; cases: number } {
  return {
    skill: skill.skill ?? null,
    certainty: Math.max(-1e6, Math.min(1e6, skill.certainty)),
    cases: skill.cases,
  };
}

function pin(actual: number, forecast: number, ratio: number): number {
  return actual >= forecast ? ratio * (actual - forecast) : (1 - ratio) * (forecast - actual);
}
