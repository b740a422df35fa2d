/** Trained part of a panel: boosted trees a horizon, when they are due, and how they are fitted. */
import { createBinMatrix } from '../boosting/bin-matrix.js';
import {
  type BoostedTrees,
  type BoostOptions,
  DEFAULT_BOOST,
  trainOnBins,
} from '../boosting/boosted-trees.js';
import type { Random } from '../seeded-random.js';
import type { TrainingRows } from './training-rows.js';

/** Trees a horizon: the median fitted to all rows. */
export const TREE_CANDIDATES = ['trees'] as const;

/** Plain data; `trainedStep` is the panel's step at the fit, for the schedule. */
export interface PanelModel {
  readonly trainedStep: number;
  /** Trees that forecast the change until t + h in units of the row's scale: horizons × `TREE_CANDIDATES`. */
  readonly changes: readonly (readonly BoostedTrees[])[];
}

/** Rows and steps before a first fit. */
const FIRST_FIT_ROWS = 400;
const FIRST_FIT_STEPS = 60;
/** A refit after 20 % more steps while young, at least every 2,880 (two days of minutes). */
const GROWTH = 0.2;
const MAX_REFIT_STEPS = 2_880;
const MIN_REFIT_STEPS = 20;

/** Whether enough steps passed since the last fit. Steps and not rows: a panel of many series has rows in plenty. */
export function isTrainingDue(rows: TrainingRows, step: number, model: PanelModel | undefined): boolean {
  if (model === undefined) return rows.added >= FIRST_FIT_ROWS && step >= FIRST_FIT_STEPS;
  return (
    step - model.trainedStep >=
    Math.max(MIN_REFIT_STEPS, Math.min(MAX_REFIT_STEPS, model.trainedStep * GROWTH))
  );
}

/** Size of the ensemble by the number of rows: few rows carry few leaves. */
function boostOptionsFor(rowCount: number): BoostOptions {
  const young = rowCount < 3_000;
  return {
    ...DEFAULT_BOOST,
    trees: young ? 60 : 120,
    maxLeaves: young ? 8 : 24,
    minLeafWeight: Math.max(10, Math.min(40, rowCount / 100)),
    learningRate: 0.08,
    rowRatio: 0.5,
    columnRatio: 0.4,
  };
}

/** Fits one ensemble a horizon on matured rows. */
export function trainPanelModel(
  rows: TrainingRows,
  featureCount: number,
  horizonCount: number,
  step: number,
  random: Random,
): PanelModel {
  const matrix = createBinMatrix(rows.features, rows.count, featureCount, random);
  const changes: BoostedTrees[][] = [];
  const targets = new Float64Array(rows.count);
  for (let h = 0; h < horizonCount; h++) {
    for (let i = 0; i < rows.count; i++) targets[i] = rows.changes[i * horizonCount + h]!;
    changes.push([trainOnBins(matrix, targets, undefined, boostOptionsFor(rows.count), random)]);
  }
  return { trainedStep: step, changes };
}
