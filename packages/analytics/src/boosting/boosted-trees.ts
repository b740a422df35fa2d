/**
 * Gradient-boosted trees with quantile (pinball) or logistic loss, compact enough to be refitted in the background of a
 * coordinator. Own implementation and not a binding: the npm bindings of LightGBM and XGBoost need install scripts.
 * Sources: Friedman, "Greedy function approximation", Annals of Statistics 29(5), 2001 (quantile leaves: the leaf value is
 * the quantile of the residuals in it); Ke et al., "LightGBM", NeurIPS 2017.
 */
import type { Random } from '../seeded-random.js';
import { type BinMatrix, createBinMatrix } from './bin-matrix.js';
import { selectQuantile } from './select.js';
import { type GrownTree, TreeGrower } from './tree-grower.js';

/** What the trees minimise: pinball loss at `ratio` (0.5 is half the absolute error), or log loss of 0/1 targets. */
export type BoostLoss = { readonly kind: 'quantile'; readonly ratio: number } | { readonly kind: 'logistic' };

/** Size and pace of the training; every field is required, `DEFAULT_BOOST` is a start. */
export interface BoostOptions {
  readonly loss: BoostLoss;
  readonly trees: number;
  readonly learningRate: number;
  readonly maxLeaves: number;
  readonly minLeafWeight: number;
  /** Share of rows and of columns each tree looks at. */
  readonly rowRatio: number;
  readonly columnRatio: number;
  readonly l2: number;
}

/** Ordinary values of the literature (shrinkage 0.1, small trees, half of rows and columns); not fitted to any file. */
export const DEFAULT_BOOST: BoostOptions = {
  loss: { kind: 'quantile', ratio: 0.5 },
  trees: 100,
  learningRate: 0.1,
  maxLeaves: 16,
  minLeafWeight: 20,
  rowRatio: 0.5,
  columnRatio: 0.5,
  l2: 1,
};

/** A trained ensemble as flat arrays (plain data: it can be stored and sent to a worker). */
export interface BoostedTrees {
  readonly loss: BoostLoss;
  readonly base: number;
  /** Node of each tree's root. */
  readonly roots: Int32Array;
  readonly features: Int32Array;
  /** A value goes left unless it is greater than the threshold, so NaN goes left. */
  readonly thresholds: Float32Array;
  /** Index of the left child, -1 at a leaf; the right child follows it. */
  readonly left: Int32Array;
  /** Leaf values, already times the learning rate. */
  readonly values: Float64Array;
}

/** Trains on row-major `rows`; `targets` has one value a row, `rowWeights` one non-negative weight a row (default 1). */
export function trainBoostedTrees(
  rows: Float32Array,
  columnCount: number,
  targets: Float64Array,
  options: BoostOptions,
  random: Random,
): BoostedTrees {
  const matrix = createBinMatrix(rows, targets.length, columnCount, random);
  return trainOnBins(matrix, targets, undefined, options, random);
}

/** The same on features that are already binned: several targets (horizons, losses) share one binning. */
export function trainOnBins(
  matrix: BinMatrix,
  targets: Float64Array,
  rowWeights: Float64Array | undefined,
  options: BoostOptions,
  random: Random,
): BoostedTrees {
  const { rowCount, columnCount } = matrix;
  const { loss } = options;
  const base = startValue(targets, loss);
  const scores = new Float64Array(rowCount).fill(base);
  const gradients = new Float64Array(rowCount);
  const weights = new Float64Array(rowCount);
  const usable = rowsWithTarget(targets);
  const grower = new TreeGrower(matrix, {
    maxLeaves: options.maxLeaves,
    minLeafWeight: options.minLeafWeight,
    l2: options.l2,
    signRatio: loss.kind === 'quantile' && rowWeights === undefined ? loss.ratio : undefined,
  });
  const builder = new ForestBuilder(matrix);
  const sampled = new Int32Array(usable.length);
  const residuals = new Float64Array(usable.length);
  for (let k = 0; k < options.trees; k++) {
    derive(loss, usable, targets, scores, rowWeights, gradients, weights);
    const count = sampleRows(usable, options.rowRatio, random, sampled);
    const columns = sampleColumns(columnCount, options.columnRatio, random);
    const tree = grower.grow(gradients, weights, sampled, count, columns);
    const leafValues = new Float64Array(tree.nodeCount);
    for (const leaf of tree.leaves) {
      leafValues[leaf.node] =
        options.learningRate *
        (loss.kind === 'quantile'
          ? leafQuantile(tree, leaf, targets, scores, residuals, loss.ratio)
          : leafNewton(tree, leaf, gradients, weights, options.l2));
    }
    addTree(matrix, tree, leafValues, usable, scores);
    builder.add(tree, leafValues);
  }
  return builder.finish(loss, base);
}

/** Raw score of one row (`row[offset, offset + columns)`): a quantile, or log odds. */
export function predictBoosted(model: BoostedTrees, row: Float32Array, offset = 0): number {
  const { features, thresholds, left, values, roots } = model;
  let sum = model.base;
  for (let k = 0; k < roots.length; k++) {
    let node = roots[k]!;
    let child = left[node]!;
    while (child >= 0) {
      node = row[offset + features[node]!]! > thresholds[node]! ? child + 1 : child;
      child = left[node]!;
    }
    sum += values[node]!;
  }
  return sum;
}

/** Logistic function. */
export function sigmoid(logOdds: number): number {
  return 1 / (1 + Math.exp(-logOdds));
}

function startValue(targets: Float64Array, loss: BoostLoss): number {
  const known = targets.filter((v) => v === v);
  if (known.length === 0) return 0;
  if (loss.kind === 'quantile') return selectQuantile(known, known.length, loss.ratio);
  let positives = 0;
  for (const v of known) positives += v;
  const share = (positives + 0.5) / (known.length + 1);
  return Math.log(share / (1 - share));
}

function rowsWithTarget(targets: Float64Array): Int32Array {
  const ids = new Int32Array(targets.length);
  let count = 0;
  for (let i = 0; i < targets.length; i++) if (targets[i] === targets[i]) ids[count++] = i;
  return ids.subarray(0, count);
}

function derive(
  loss: BoostLoss,
  usable: Int32Array,
  targets: Float64Array,
  scores: Float64Array,
  rowWeights: Float64Array | undefined,
  gradients: Float64Array,
  weights: Float64Array,
): void {
  for (const i of usable) {
    const weight = rowWeights === undefined ? 1 : rowWeights[i]!;
    if (loss.kind === 'quantile') {
      gradients[i] = weight * (targets[i]! > scores[i]! ? -loss.ratio : 1 - loss.ratio);
      weights[i] = weight;
    } else {
      const p = sigmoid(scores[i]!);
      gradients[i] = weight * (p - targets[i]!);
      weights[i] = weight * Math.max(p * (1 - p), 1e-6);
    }
  }
}

function sampleRows(usable: Int32Array, ratio: number, random: Random, out: Int32Array): number {
  if (ratio >= 1) {
    out.set(usable);
    return usable.length;
  }
  let count = 0;
  for (const row of usable) if (random() < ratio) out[count++] = row;
  return count;
}

function sampleColumns(columnCount: number, ratio: number, random: Random): Int32Array {
  const columns = Int32Array.from({ length: columnCount }, (_, i) => i);
  const keep = Math.max(1, Math.round(columnCount * ratio));
  for (let i = 0; i < keep; i++) {
    const j = i + Math.floor(random() * (columnCount - i));
    const swap = columns[i]!;
    columns[i] = columns[j]!;
    columns[j] = swap;
  }
  return columns.subarray(0, keep);
}

function leafQuantile(
  tree: GrownTree,
  leaf: { start: number; end: number },
  targets: Float64Array,
  scores: Float64Array,
  residuals: Float64Array,
  ratio: number,
): number {
  const count = leaf.end - leaf.start;
  for (let i = 0; i < count; i++) {
    const row = tree.rowIds[leaf.start + i]!;
    residuals[i] = targets[row]! - scores[row]!;
  }
  return selectQuantile(residuals, count, ratio);
}

function leafNewton(
  tree: GrownTree,
  leaf: { start: number; end: number },
  gradients: Float64Array,
  weights: Float64Array,
  l2: number,
): number {
  let gradient = 0;
  let weight = 0;
  for (let i = leaf.start; i < leaf.end; i++) {
    gradient += gradients[tree.rowIds[i]!]!;
    weight += weights[tree.rowIds[i]!]!;
  }
  return -gradient / (weight + l2);
}

function addTree(
  matrix: BinMatrix,
  tree: GrownTree,
  leafValues: Float64Array,
  rows: Int32Array,
  scores: Float64Array,
): void {
  const { codes, rowCount } = matrix;
  for (const row of rows) {
    let node = 0;
    while (tree.left[node]! >= 0) {
      node =
        codes[tree.features[node]! * rowCount + row]! <= tree.cutCodes[node]!
          ? tree.left[node]!
          : tree.right[node]!;
    }
    scores[row] = scores[row]! + leafValues[node]!;
  }
}

/** Collects trees into flat arrays with thresholds instead of bin codes. */
class ForestBuilder {
  private readonly roots: number[] = [];
  private readonly features: number[] = [];
  private readonly thresholds: number[] = [];
  private readonly left: number[] = [];
  private readonly values: number[] = [];

  constructor(private readonly matrix: BinMatrix) {}

  add(tree: GrownTree, leafValues: Float64Array): void {
    const root = this.features.length;
    this.roots.push(root);
    for (let node = 0; node < tree.nodeCount; node++) {
      const child = tree.left[node]!;
      const feature = tree.features[node]!;
      const code = tree.cutCodes[node]!;
      this.features.push(feature);
      // Code 0 is "missing": only NaN goes left then.
      this.thresholds.push(
        child < 0 ? 0 : code === 0 ? Number.NEGATIVE_INFINITY : this.matrix.cuts[feature]![code - 1]!,
      );
      this.left.push(child < 0 ? -1 : root + child);
      this.values.push(child < 0 ? leafValues[node]! : 0);
    }
  }

  finish(loss: BoostLoss, base: number): BoostedTrees {
    return {
      loss,
      base,
      roots: Int32Array.from(this.roots),
      features: Int32Array.from(this.features),
      thresholds: Float32Array.from(this.thresholds),
      left: Int32Array.from(this.left),
      values: Float64Array.from(this.values),
    };
  }
}
