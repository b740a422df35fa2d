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

/** Plain data; `trainedAt` counts rows ever added, for the schedule. */
export interface PanelModel {
  readonly trainedAt: number;
  /** Trees that forecast the change until t + h in units of the row's scale: horizons × `TREE_CANDIDATES`. */
  readonly changes: readonly (readonly BoostedTrees[])[];
}

/** Rows before a first fit. */
const FIRST_FIT_ROWS = 400;
/** A refit at 20 % more rows while young, at least every 2,880 rows (two days of minutes). */
const GROWTH = 0.2;
const MAX_REFIT_ROWS = 2_880;

/** Whether enough rows came since the last fit. */
export function isTrainingDue(rows: TrainingRows, model: PanelModel | undefined): boolean {
  if (model === undefined) return rows.added >= FIRST_FIT_ROWS;
  const since = rows.added - model.trainedAt;
  return since >= Math.max(FIRST_FIT_ROWS / 4, Math.min(MAX_REFIT_ROWS, model.trainedAt * GROWTH));
}

/** Size of the ensemble by the number of rows: few rows carry few leaves. */
export function boostOptionsFor(rowCount: number): BoostOptions {
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
  random: Random,
): PanelModel {
  const matrix = createBinMatrix(rows.features, rows.count, featureCount, random);
  const changes: BoostedTrees[][] = [];
  const targets = new Float64Array(rows.count);
  for (let h = 0; h < horizonCount; h++) {
    for (let i = 0; i < rows.count; i++) targets[i] = rows.changes[i * horizonCount + h]!;
    changes.push([trainOnBins(matrix, targets, undefined, boostOptionsFor(rows.count), random)]);
  }
  return { trainedAt: rows.added, changes };
}
