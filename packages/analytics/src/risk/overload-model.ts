/**
 * Probability that a series crosses its limit within each horizon: boosted trees on the forecaster's features and the
 * distance to the limit, fitted to matured rows only, recalibrated online per series.
 * Trees and not the forecast's own quantiles: "will any of the next 30 values cross" is a question about the maximum, and
 * the other metrics (queues, connections) answer it better than the marginal forecasts do.
 */
import { createBinMatrix } from '../boosting/bin-matrix.js';
import { type BoostedTrees, DEFAULT_BOOST, predictBoosted, trainOnBins } from '../boosting/boosted-trees.js';
import type { TrainingRows } from '../forecast/training-rows.js';
import type { Random } from '../seeded-random.js';
import type { RawScorer } from './own-model.js';
import { PlattCalibrator } from './platt-calibrator.js';

/** One ensemble a horizon, `undefined` where the past held no crossing. */
export interface OverloadTrees {
  readonly trainedAt: number;
  readonly byHorizon: readonly (BoostedTrees | undefined)[];
  /** Rows with a crossing they were fitted to, a horizon. */
  readonly positives: readonly number[];
}

/** Fewest rows of either outcome a fit needs. */
const MIN_CLASS_ROWS = 30;
/** Crossings at which trees and bands count the same; neighbouring rows repeat each other, so this is a few real overloads. */
const EQUAL_EVIDENCE_ROWS = 100;
/** New rows between two fits: two days of minutes. */
const REFIT_ROWS = 2_880;

/** Classifier of a panel. */
export class OverloadModel {
  trees: OverloadTrees | undefined;
  private readonly calibrators: readonly PlattCalibrator[];
  private readonly row: Float32Array;

  /** `limits[s]`: the value above which series s is overloaded. */
  constructor(
    private readonly rows: TrainingRows,
    private readonly featureCount: number,
    private readonly horizonCount: number,
    private readonly limits: Float64Array,
    private readonly random: Random,
  ) {
    this.calibrators = Array.from({ length: limits.length * horizonCount }, () => new PlattCalibrator());
    this.row = new Float32Array(featureCount + 1);
  }

  /** Whether enough new rows came since the last fit. */
  trainingDue(): boolean {
    return this.trees === undefined || this.rows.added - this.trees.trainedAt >= REFIT_ROWS;
  }

  /** Fits all horizons; heavy, for the background. */
  train(): void {
    this.trees = this.fitUpTo(this.rows.count);
  }

  /**
   * Fits on the older part of the rows and calibrates on the newer, then fits on all: the first calibrated probabilities
   * do not have to wait for live outcomes.
   */
  warmStart(): void {
    const cut = Math.floor(this.rows.count * 0.7);
    this.trees = this.fitUpTo(cut);
    const { horizonCount, rows } = this;
    for (let i = cut; i < rows.count; i++) {
      if (!this.isRowUsed(i)) continue;
      for (let h = 0; h < horizonCount; h++) {
        const peak = rows.peaks[i * horizonCount + h]!;
        if (peak !== peak) continue;
        const series = rows.series[i]!;
        const score = this.score(
          h,
          series,
          rows.values[i]!,
          rows.scales[i]!,
          rows.features.subarray(i * this.featureCount, (i + 1) * this.featureCount),
        );
        if (score !== undefined) this.learn(series, h, score, peak > this.limits[series]!);
      }
    }
    for (const calibrator of this.calibrators) calibrator.fit();
    this.train();
  }

  /**
   * Raw log odds of the trees, shrunk towards `bandLogOdds` (what the forecast's bands say) while there is little evidence: a
   * handful of crossings teaches trees accidents.
   */
  blend(
    h: number,
    row: {
      readonly series: number;
      readonly value: number;
      readonly scale: number;
      readonly features: Float32Array;
    },
    bandLogOdds: number,
  ): number {
    const score = this.score(h, row.series, row.value, row.scale, row.features);
    if (score === undefined) return bandLogOdds;
    const positives = this.trees!.positives[h]!;
    const trust = positives / (positives + EQUAL_EVIDENCE_ROWS);
    return trust * score + (1 - trust) * bandLogOdds;
  }

  /** Raw log odds of the trees alone, `undefined` where the past held too few crossings for trees; `features` as the frame filled them. */
  score(h: number, series: number, value: number, scale: number, features: Float32Array): number | undefined {
    const trees = this.trees?.byHorizon[h];
    if (trees === undefined) return undefined;
    this.row.set(features);
    this.row[this.featureCount] = (this.limits[series]! - value) / scale;
    return predictBoosted(trees, this.row);
  }

  /** The longest horizon as a scorer for `OverloadWatch`; without a score until it has been trained. */
  lastHorizonScorer(): RawScorer {
    const h = this.horizonCount - 1;
    return {
      score: (row, bandLogOdds) =>
        this.trees?.byHorizon[h] === undefined ? undefined : this.blend(h, row, bandLogOdds),
    };
  }

  /** Calibrated probability for raw log odds. */
  probability(series: number, h: number, score: number): number {
    return this.calibrators[series * this.horizonCount + h]!.probability(score);
  }

  /** Folds in a matured outcome of a score that was issued for (t, t + h]. */
  learn(series: number, h: number, score: number, crossed: boolean): void {
    this.calibrators[series * this.horizonCount + h]!.learn(score, crossed);
  }

  private isRowUsed(i: number): boolean {
    return this.rows.values[i]! <= this.limits[this.rows.series[i]!]!;
  }

  private fitUpTo(end: number): OverloadTrees {
    const { rows, featureCount, horizonCount, limits } = this;
    const width = featureCount + 1;
    const used: number[] = [];
    for (let i = 0; i < end; i++) if (this.isRowUsed(i)) used.push(i);
    const features = new Float32Array(used.length * width);
    used.forEach((i, k) => {
      features.set(rows.features.subarray(i * featureCount, (i + 1) * featureCount), k * width);
      features[k * width + featureCount] = (limits[rows.series[i]!]! - rows.values[i]!) / rows.scales[i]!;
    });
    const matrix = createBinMatrix(features, used.length, width, this.random);
    const byHorizon: (BoostedTrees | undefined)[] = [];
    const positiveRows: number[] = [];
    for (let h = 0; h < horizonCount; h++) {
      let positives = 0;
      let known = 0;
      const labels = Float64Array.from(used, (i) => {
        const peak = rows.peaks[i * horizonCount + h]!;
        if (peak !== peak) return Number.NaN;
        known++;
        const label = peak > limits[rows.series[i]!]! ? 1 : 0;
        positives += label;
        return label;
      });
      positiveRows.push(positives);
      byHorizon.push(
        positives < MIN_CLASS_ROWS || known - positives < MIN_CLASS_ROWS
          ? undefined
          : trainOnBins(matrix, labels, undefined, OVERLOAD_BOOST, this.random),
      );
    }
    return { trainedAt: rows.added, byHorizon, positives: positiveRows };
  }
}

/** Slower and more regular than the forecast's trees: labels of overlapping windows repeat themselves. */
const OVERLOAD_BOOST = {
  ...DEFAULT_BOOST,
  loss: { kind: 'logistic' },
  trees: 120,
  learningRate: 0.05,
  maxLeaves: 16,
  minLeafWeight: 5,
  rowRatio: 0.4,
  columnRatio: 0.3,
  l2: 5,
} as const;
