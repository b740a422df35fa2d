/**
 * Forecasts a panel: one metric of many endpoints (or a single series) that share a clock. Each step: learn from the
 * forecasts whose time has come, fold in the new values, issue quantiles for every horizon. Everything is O(1) a step in
 * typed arrays except `train`, which the owner calls in the background.
 *
 * Layers: experts → mixtures of them (by loss, by gradient) → boosted trees that see experts, lags and the other metrics →
 * a gradient mixture of all these candidates → conformal quantiles around it.
 */
import { predictBoosted } from '../boosting/boosted-trees.js';
import { sortQuantiles } from '../measure/coherence.js';
import { createRandom } from '../seeded-random.js';
import { ConformalBand } from './conformal-band.js';
import type { ExpertGroup } from './expert-group.js';
import { FeatureFrame } from './feature-frame.js';
import { GradientMixture, HedgeMixture, weightedMean, weightedMedian } from './mixture.js';
import { RegressionGroup } from './regression-group.js';
import { SeasonGroup } from './season-group.js';
import { SmoothingGroup } from './smoothing-group.js';
import { TreeTrial } from './tree-trial.js';
import { type PanelModel, TREE_CANDIDATES, isTrainingDue, trainPanelModel } from './panel-model.js';
import { TrainingRows } from './training-rows.js';
import { WindowGroup } from './window-group.js';

/** What a panel is. */
export interface PanelOptions {
  readonly seriesCount: number;
  /** Steps ahead, ascending. */
  readonly horizons: readonly number[];
  /** Quantiles to issue besides the median; default P10 and P90. */
  readonly ratios?: readonly number[];
  /** Seconds a step; with `calendar` it enables the daily profile and the hour as a feature. */
  readonly stepS: number;
  /** Whether times are calendar times (or at least keep the phase of the day). */
  readonly calendar: boolean;
  /** Other metrics a series. */
  readonly auxCount?: number;
  /** Rows the trees learn from at most; 0 disables the trees. */
  readonly trainingRows?: number;
  readonly seed?: number;
  /** Additional expert groups, e.g. ETS. */
  readonly extraExperts?: readonly ExpertGroup[];
}

/** 24,000 rows are 16 days of minutes: enough past for the trees, and 10 MB with 100 features. */
const DEFAULT_TRAINING_ROWS = 24_000;
/** Mixtures: memory in matured forecasts, and how sharply loss counts. */
const MEMORIES = [150, 1_500] as const;
const SHARPNESS = [0.1, 0.5] as const;
const FINAL_MEMORY = 3_000;
/** Steps a series must have before its forecasts train the trees. */
const WARM_STEPS = 30;

/** Online forecaster of one panel. */
export class PanelForecaster {
  readonly horizons: readonly number[];
  readonly expertNames: readonly string[];
  readonly candidateNames: readonly string[];
  readonly rows: TrainingRows;
  readonly frame: FeatureFrame;
  readonly ratios: readonly number[];
  /** Median forecasts, series × horizons; NaN before a series' first value. Never outside the quantiles around them. */
  readonly medians: Float64Array;
  /** Quantiles, (series × horizons) × ratios. */
  readonly quantiles: Float64Array;
  model: PanelModel | undefined;
  /** What `rollBack` goes back to; undefined: nothing. */
  previous: { readonly model: PanelModel | undefined } | undefined;
  /** Fitted by `trainInShadow` and not decided on yet. */
  trial: TreeTrial | undefined;
  /** Fitted last, whatever became of it; for the schedule. */
  private fitted: PanelModel | undefined;
  step = -1;

  private readonly groups: readonly ExpertGroup[];
  private readonly expertCount: number;
  private readonly width: number;
  private readonly pending: readonly Float64Array[];
  private readonly issued: readonly Int32Array[];
  private readonly experts: Float64Array;
  private readonly hedges: readonly HedgeMixture[];
  private readonly gradient: GradientMixture;
  private readonly final: GradientMixture;
  private readonly band: ConformalBand;
  private readonly naiveErrors: Float64Array;
  private readonly naiveCounts: Int32Array;
  private readonly order: Int32Array;
  private readonly featureRows: Float32Array;
  /** Indexes of the ratios, ascending, with the median's place among them; and room for one band. */
  private readonly rising: readonly number[];
  private readonly medianAt: number;
  private readonly sorted: Float64Array;
  /** 1 = the series has shown a negative value; before that nothing negative is said of it. */
  private readonly hasBeenNegative: Uint8Array;
  private readonly mixes: Float64Array;
  private readonly seen: Int32Array;
  private readonly lastSegment: Int32Array;
  private segment = 0;
  private lastTimeS = Number.NaN;
  private readonly random;

  constructor(readonly options: PanelOptions) {
    const { seriesCount, horizons, stepS, calendar } = options;
    this.horizons = horizons;
    this.ratios = options.ratios ?? [0.1, 0.9];
    this.random = createRandom(options.seed ?? 1);
    const daySteps = calendar ? Math.round(86_400 / stepS) : 0;
    this.groups = [
      new SmoothingGroup(seriesCount),
      new WindowGroup(seriesCount),
      new RegressionGroup(seriesCount, horizons),
      new SeasonGroup(seriesCount, daySteps),
      ...(options.extraExperts ?? []),
    ];
    this.expertNames = this.groups.flatMap((g) => g.names);
    this.expertCount = this.expertNames.length;
    this.candidateNames = [
      'naive',
      ...MEMORIES.flatMap((m) => SHARPNESS.map((s) => `hedge-${m}-${s}`)),
      'hedge-median',
      'gradient',
      'shifted',
      ...TREE_CANDIDATES,
    ];
    // A pending forecast: experts, candidates, combined point, residual size, value then, step's segment.
    this.width = this.expertCount + this.candidateNames.length + 4;
    this.pending = horizons.map((h) => new Float64Array(seriesCount * h * this.width));
    this.issued = horizons.map((h) => new Int32Array(seriesCount * h).fill(-1));
    const cells = seriesCount * horizons.length;
    this.experts = new Float64Array(this.expertCount * horizons.length);
    this.hedges = MEMORIES.map((m) => new HedgeMixture(seriesCount, horizons.length, this.expertCount, m));
    this.gradient = new GradientMixture(seriesCount, horizons.length, this.expertCount, MEMORIES[1]);
    this.final = new GradientMixture(seriesCount, horizons.length, this.candidateNames.length, FINAL_MEMORY);
    this.band = new ConformalBand(seriesCount, horizons.length, [...this.ratios, 0.5]);
    this.naiveErrors = new Float64Array(cells);
    this.naiveCounts = new Int32Array(cells);
    this.order = new Int32Array(this.expertCount);
    this.medians = new Float64Array(cells).fill(Number.NaN);
    this.quantiles = new Float64Array(cells * this.ratios.length).fill(Number.NaN);
    const order = [...this.ratios.keys()].sort((a, b) => this.ratios[a]! - this.ratios[b]!);
    this.medianAt = order.filter((q) => this.ratios[q]! < 0.5).length;
    this.rising = [...order.slice(0, this.medianAt), -1, ...order.slice(this.medianAt)];
    this.sorted = new Float64Array(this.rising.length);
    this.hasBeenNegative = new Uint8Array(seriesCount);
    this.mixes = new Float64Array(horizons.length);
    this.seen = new Int32Array(seriesCount);
    this.lastSegment = new Int32Array(seriesCount);
    const varying = this.expertNames.flatMap((name, e) => (/^(ar|day|period)/.test(name) ? [e] : []));
    this.frame = new FeatureFrame({
      seriesCount,
      auxCount: options.auxCount ?? 0,
      horizonCount: horizons.length,
      maxHorizon: Math.max(...horizons),
      expertNames: this.expertNames,
      varying,
      hasClock: calendar,
    });
    this.featureRows = new Float32Array(seriesCount * this.frame.featureCount);
    this.rows = new TrainingRows({
      featureCount: this.frame.featureCount,
      horizonCount: horizons.length,
      capacity: Math.max(options.trainingRows ?? DEFAULT_TRAINING_ROWS, 1),
      random: this.random,
    });
  }

  /**
   * One step of all series: `values[s]` (NaN = missing) at `timeS`, `aux[s × auxCount + a]`. A time that jumps by other than
   * one step starts a new segment: nothing is learned across it.
   */
  observe(timeS: number, values: Float64Array, aux?: Float32Array): void {
    this.step++;
    const { stepS } = this.options;
    if (!(Math.abs(timeS - this.lastTimeS - stepS) <= stepS / 2)) this.segment = this.step;
    this.lastTimeS = timeS;
    const { seriesCount } = this.options;
    for (let s = 0; s < seriesCount; s++) {
      const value = values[s]!;
      // A missing value breaks the series' own segment: what was issued before is not scored against what comes after.
      if (!Number.isFinite(value)) this.lastSegment[s] = this.step + 1;
    }
    this.learn(values);
    for (let s = 0; s < seriesCount; s++) {
      const value = values[s]!;
      if (!Number.isFinite(value)) continue;
      for (const group of this.groups) group.update(s, value);
      this.frame.update(s, value, aux);
      this.seen[s] = this.seen[s]! + 1;
      if (value < 0) this.hasBeenNegative[s] = 1;
    }
    for (let s = 0; s < seriesCount; s++) {
      if (Number.isFinite(values[s]!)) this.issue(s, timeS, values[s]!, aux);
    }
  }

  /** Whether enough new rows came since the last training. */
  trainingDue(): boolean {
    return (
      (this.options.trainingRows ?? DEFAULT_TRAINING_ROWS) > 0 &&
      this.trial === undefined &&
      isTrainingDue(this.rows, this.step, this.fitted ?? this.model)
    );
  }

  /** Trains the trees on matured rows and installs them; heavy (up to a few seconds), meant for a worker or a gap. */
  train(): void {
    this.model = this.fit();
  }

  /** The same, but the trees must prove themselves beside the active ones first; `decideTrial` says what became of them. */
  trainInShadow(): void {
    this.trial = new TreeTrial(this.fit(), this.options.seriesCount, this.horizons);
  }

  /** Call after `observe`: ends a trial that has seen enough, and says how. */
  decideTrial(): 'promoted' | 'discarded' | undefined {
    const { trial } = this;
    const verdict = trial?.verdict();
    if (trial === undefined || verdict === undefined) return undefined;
    if (verdict === 'promoted') {
      this.previous = { model: this.model };
      this.model = trial.model;
    }
    this.trial = undefined;
    return verdict;
  }

  /** Back to the trees before; false when there are none to go back to. */
  rollBack(): boolean {
    if (this.previous === undefined) return false;
    this.model = this.previous.model;
    this.previous = undefined;
    this.trial = undefined;
    return true;
  }

  private fit(): PanelModel {
    const { rows, frame, horizons, step, random } = this;
    this.fitted = trainPanelModel(rows, frame.featureCount, horizons.length, step, random);
    return this.fitted;
  }

  /** Features of a series as of its last value, for the classifiers on top; a view that the next `observe` overwrites. */
  featuresOf(series: number): Float32Array {
    const { featureCount } = this.frame;
    return this.featureRows.subarray(series * featureCount, (series + 1) * featureCount);
  }

  private isScored(series: number, issuedStep: number): boolean {
    return issuedStep >= this.segment && issuedStep >= this.lastSegment[series]!;
  }

  private learn(values: Float64Array): void {
    const { seriesCount } = this.options;
    const { expertCount, width } = this;
    for (let h = 0; h < this.horizons.length; h++) {
      const horizon = this.horizons[h]!;
      const issuedStep = this.step - horizon;
      if (issuedStep < 0) continue;
      const pending = this.pending[h]!;
      for (let s = 0; s < seriesCount; s++) {
        const slot = s * horizon + (issuedStep % horizon);
        if (this.issued[h]![slot] !== issuedStep || !this.isScored(s, issuedStep)) continue;
        const actual = values[s]!;
        const at = slot * width;
        const combined = pending[at + width - 4]!;
        const size = pending[at + width - 3]!;
        const cell = s * this.horizons.length + h;
        const naive = Math.abs(actual - pending[at + width - 2]!);
        const n = this.naiveCounts[cell]!;
        this.naiveCounts[cell] = n + 1;
        this.naiveErrors[cell] =
          this.naiveErrors[cell]! + Math.max(0.003, 1 / (n + 1)) * (naive - this.naiveErrors[cell]!);
        const scale = Math.max(this.naiveErrors[cell]!, this.frame.scale(s) * 0.1);
        for (const hedge of this.hedges) hedge.learn(s, h, pending, at, actual, scale);
        const candidates = at + expertCount;
        const gradientAt = this.candidateNames.indexOf('gradient');
        this.gradient.learn(s, h, pending, at, {
          actual,
          scale,
          combined: pending[candidates + gradientAt]!,
        });
        this.final.learn(s, h, pending, candidates, { actual, scale, combined });
        this.band.learn(cell, actual - combined, size);
        this.trial?.mature(s, h, issuedStep, { actual, scale });
      }
      this.rows.mature(
        h,
        issuedStep,
        (s) => (this.isScored(s, issuedStep) ? values[s]! : Number.NaN),
        (s) =>
          this.isScored(s, issuedStep)
            ? Math.max(values[s]!, horizon > 1 ? this.frame.highest(s, horizon - 1) : values[s]!)
            : Number.NaN,
      );
    }
  }

  private issue(series: number, timeS: number, value: number, aux: Float32Array | undefined): void {
    const { expertCount, width, experts } = this;
    const horizonCount = this.horizons.length;
    for (let h = 0; h < horizonCount; h++) {
      let offset = h * expertCount;
      for (const group of this.groups) {
        group.predict(series, this.horizons[h]!, experts, offset);
        offset += group.names.length;
      }
      const horizon = this.horizons[h]!;
      const slot = series * horizon + (this.step % horizon);
      const pending = this.pending[h]!;
      pending.set(experts.subarray(h * expertCount, (h + 1) * expertCount), slot * width);
      this.mixes[h] = this.mixExperts(series, h, slot * width + expertCount, value);
      this.issued[h]![slot] = this.step;
    }
    const { rows, model } = this;
    const features = this.featuresOf(series);
    this.frame.fill(series, timeS, aux, { experts, mixes: this.mixes }, features);
    if (this.seen[series]! > WARM_STEPS && rows.wants()) {
      rows.add({ series, step: this.step, value, scale: this.frame.scale(series) }, features, 0);
    }
    const scale = this.frame.scale(series);
    for (let h = 0; h < horizonCount; h++) {
      const horizon = this.horizons[h]!;
      const at = (series * horizon + (this.step % horizon)) * width;
      const candidates = at + expertCount;
      const pending = this.pending[h]!;
      let write = candidates + this.candidateNames.length - TREE_CANDIDATES.length;
      for (let k = 0; k < TREE_CANDIDATES.length; k++) {
        const trees = model?.changes[h]?.[k];
        pending[write++] =
          trees === undefined ? this.mixes[h]! : value + scale * predictBoosted(trees, features);
      }
      this.try(series, h, value, pending[write - 1]!);
      this.finish(series, h, at, value);
    }
  }

  private try(series: number, h: number, value: number, active: number): void {
    const trees = this.trial?.model.changes[h]?.[0];
    if (trees === undefined) return;
    const onTrial = value + this.frame.scale(series) * predictBoosted(trees, this.featuresOf(series));
    this.trial?.issue(series, h, this.step, onTrial, active);
  }

  /** Writes the candidates that need no trees; returns the one the trees may see. */
  private mixExperts(series: number, h: number, candidates: number, value: number): number {
    const pending = this.pending[h]!;
    const from = candidates - this.expertCount;
    let write = candidates;
    pending[write++] = value;
    let sharp = value;
    let median = value;
    for (const hedge of this.hedges) {
      for (const sharpness of SHARPNESS) {
        hedge.weigh(series, h, sharpness);
        sharp = weightedMean(hedge.weights, pending, from);
        pending[write++] = sharp;
        if (sharpness === SHARPNESS[0]) median = weightedMedian(hedge.weights, pending, from, this.order);
      }
    }
    pending[write++] = median;
    this.gradient.weigh(series, h);
    const blended = weightedMean(this.gradient.weights, pending, from);
    pending[write++] = blended;
    // The best of the smooth mixtures, moved by the tracked median of the final residual: skewed series need it.
    const cell = series * this.horizons.length + h;
    pending[write++] = blended + this.band.offset(cell, this.ratios.length, this.band.size(cell));
    return blended;
  }

  private finish(series: number, h: number, at: number, value: number): void {
    const { width, expertCount, final, band } = this;
    const pending = this.pending[h]!;
    final.weigh(series, h);
    const combined = weightedMean(final.weights, pending, at + expertCount);
    const cell = series * this.horizons.length + h;
    const size = band.count(cell) === 0 ? this.frame.scale(series) : band.size(cell);
    pending[at + width - 4] = combined;
    pending[at + width - 3] = size;
    pending[at + width - 2] = value;
    this.issueBand(series, cell, combined, size);
  }

  /** Point and band as they are given out; what is learned from is the point as it was. */
  private issueBand(series: number, cell: number, combined: number, size: number): void {
    const { ratios, sorted, rising, medianAt, band } = this;
    const least = this.hasBeenNegative[series] === 1 ? Number.NEGATIVE_INFINITY : 0;
    for (let k = 0; k < sorted.length; k++) {
      const offset = k === medianAt ? 0 : band.offset(cell, rising[k]!, size);
      sorted[k] = Math.max(least, combined + offset);
    }
    sortQuantiles(sorted);
    for (let k = 0; k < sorted.length; k++) {
      if (k === medianAt) this.medians[cell] = sorted[k]!;
      else this.quantiles[cell * ratios.length + rising[k]!] = sorted[k]!;
    }
  }
}
