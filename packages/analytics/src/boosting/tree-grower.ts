/**
 * Grows one regression tree leaf by leaf (best gain first) on binned features with first and second derivatives.
 * Leaf-wise and not level-wise: at the same number of leaves it reaches a lower loss, and small trees are what makes
 * prediction cheap. The smaller child's histogram is counted, the sibling's is the difference.
 * Source: Chen & Guestrin, "XGBoost", KDD 2016, equation 7; Ke et al., "LightGBM", NeurIPS 2017.
 */
import { BINS, type BinMatrix } from './bin-matrix.js';

/** Bounds of one tree. */
export interface GrowOptions {
  readonly maxLeaves: number;
  /** Sum of second derivatives a leaf must hold (for absolute loss: rows). */
  readonly minLeafWeight: number;
  /** Ridge penalty on leaf values. */
  readonly l2: number;
  /**
   * For quantile loss without row weights: its ratio. Every derivative is then −ratio or 1 − ratio with weight 1, and a histogram
   * cell can hold both counts in one number, which halves the memory traffic of the innermost loop.
   */
  readonly signRatio?: number | undefined;
}

/** Weight of "the target lies above" in a packed cell; below it stands the number of rows. Sums stay exact up to 2^53. */
const ABOVE = 2 ** 26;

/** A tree under construction: `left[n] < 0` marks a leaf; a row goes left when its code is at most `codes[n]`. */
export interface GrownTree {
  readonly features: Int32Array;
  readonly cutCodes: Uint8Array;
  readonly left: Int32Array;
  readonly right: Int32Array;
  nodeCount: number;
  /** Per leaf: node id and its rows `rowIds[start, end)`. */
  readonly leaves: { node: number; start: number; end: number }[];
  readonly rowIds: Int32Array;
}

interface OpenLeaf {
  node: number;
  start: number;
  end: number;
  slot: number;
  gradient: number;
  weight: number;
  gain: number;
  feature: number;
  code: number;
}

/** Reusable buffers for trees over one matrix. */
export class TreeGrower {
  private readonly pool: Float64Array;
  private readonly stride: number;
  private readonly lanes: 1 | 2;
  private readonly scratch: Int32Array;
  private readonly orderedGradient: Float64Array;
  private readonly orderedWeight: Float64Array;

  constructor(
    private readonly matrix: BinMatrix,
    private readonly options: GrowOptions,
  ) {
    this.lanes = options.signRatio === undefined ? 2 : 1;
    this.stride = matrix.columnCount * BINS * this.lanes;
    this.pool = new Float64Array(this.stride * options.maxLeaves);
    this.scratch = new Int32Array(matrix.rowCount);
    this.orderedGradient = new Float64Array(matrix.rowCount);
    this.orderedWeight = new Float64Array(matrix.rowCount);
  }

  /** Grows a tree over `rowIds[0, count)` (reordered in place) looking at `columns` only. */
  grow(
    gradients: Float64Array,
    weights: Float64Array,
    rowIds: Int32Array,
    count: number,
    columns: Int32Array,
  ): GrownTree {
    const nodes = this.options.maxLeaves * 2;
    const tree: GrownTree = {
      features: new Int32Array(nodes),
      cutCodes: new Uint8Array(nodes),
      left: new Int32Array(nodes).fill(-1),
      right: new Int32Array(nodes).fill(-1),
      nodeCount: 1,
      leaves: [],
      rowIds,
    };
    const root: OpenLeaf = {
      node: 0,
      start: 0,
      end: count,
      slot: 0,
      gradient: 0,
      weight: 0,
      gain: 0,
      feature: -1,
      code: 0,
    };
    for (let i = 0; i < count; i++) {
      root.gradient += gradients[rowIds[i]!]!;
      root.weight += weights[rowIds[i]!]!;
    }
    this.count(root, gradients, weights, rowIds, columns);
    this.findSplit(root, columns);
    const open: OpenLeaf[] = [root];
    while (open.length < this.options.maxLeaves) {
      let best: OpenLeaf | undefined;
      for (const leaf of open)
        if (leaf.gain > 1e-12 && (best === undefined || leaf.gain > best.gain)) best = leaf;
      if (best === undefined) break;
      open.push(this.split(best, tree, gradients, weights, columns, open.length));
    }
    for (const leaf of open) tree.leaves.push({ node: leaf.node, start: leaf.start, end: leaf.end });
    return tree;
  }

  /** Splits `leaf` in place into its left child and returns the right one. */
  private split(
    leaf: OpenLeaf,
    tree: GrownTree,
    gradients: Float64Array,
    weights: Float64Array,
    columns: Int32Array,
    freeSlot: number,
  ): OpenLeaf {
    const { rowIds } = tree;
    const offset = leaf.feature * this.matrix.rowCount;
    const { codes } = this.matrix;
    let write = leaf.start;
    let spill = 0;
    let leftGradient = 0;
    let leftWeight = 0;
    for (let i = leaf.start; i < leaf.end; i++) {
      const row = rowIds[i]!;
      if (codes[offset + row]! <= leaf.code) {
        rowIds[write++] = row;
        leftGradient += gradients[row]!;
        leftWeight += weights[row]!;
      } else this.scratch[spill++] = row;
    }
    rowIds.set(this.scratch.subarray(0, spill), write);
    const leftNode = tree.nodeCount++;
    const rightNode = tree.nodeCount++;
    tree.features[leaf.node] = leaf.feature;
    tree.cutCodes[leaf.node] = leaf.code;
    tree.left[leaf.node] = leftNode;
    tree.right[leaf.node] = rightNode;
    const right: OpenLeaf = {
      node: rightNode,
      start: write,
      end: leaf.end,
      slot: freeSlot,
      gradient: leaf.gradient - leftGradient,
      weight: leaf.weight - leftWeight,
      gain: 0,
      feature: -1,
      code: 0,
    };
    leaf.node = leftNode;
    leaf.end = write;
    leaf.gradient = leftGradient;
    leaf.weight = leftWeight;
    const small = leaf.end - leaf.start < right.end - right.start ? leaf : right;
    const large = small === leaf ? right : leaf;
    // The parent's histogram lies in leaf.slot; the small child is counted into the free slot, the large one stays.
    const parentSlot = leaf.slot;
    small.slot = freeSlot;
    large.slot = parentSlot;
    this.count(small, gradients, weights, rowIds, columns);
    this.subtract(large.slot, small.slot, columns);
    this.findSplit(leaf, columns);
    this.findSplit(right, columns);
    return right;
  }

  private count(
    leaf: OpenLeaf,
    gradients: Float64Array,
    weights: Float64Array,
    rowIds: Int32Array,
    columns: Int32Array,
  ): void {
    const packed = this.lanes === 1;
    const { orderedGradient, orderedWeight } = this;
    const size = leaf.end - leaf.start;
    for (let i = 0; i < size; i++) {
      const row = rowIds[leaf.start + i]!;
      if (packed) orderedGradient[i] = gradients[row]! < 0 ? ABOVE + 1 : 1;
      else {
        orderedGradient[i] = gradients[row]!;
        orderedWeight[i] = weights[row]!;
      }
    }
    for (const column of columns) {
      if (packed) this.countPacked(leaf, rowIds, column);
      else this.countPairs(leaf, rowIds, column);
    }
  }

  private countPacked(leaf: OpenLeaf, rowIds: Int32Array, column: number): void {
    const { pool, orderedGradient } = this;
    const { codes } = this.matrix;
    const base = leaf.slot * this.stride + column * BINS;
    const offset = column * this.matrix.rowCount;
    const { start } = leaf;
    const size = leaf.end - start;
    pool.fill(0, base, base + BINS);
    for (let i = 0; i < size; i++) {
      const at = base + codes[offset + rowIds[start + i]!]!;
      pool[at] = pool[at]! + orderedGradient[i]!;
    }
  }

  private countPairs(leaf: OpenLeaf, rowIds: Int32Array, column: number): void {
    const { pool, orderedGradient, orderedWeight } = this;
    const { codes } = this.matrix;
    const base = leaf.slot * this.stride + column * BINS * 2;
    const offset = column * this.matrix.rowCount;
    const { start } = leaf;
    const size = leaf.end - start;
    pool.fill(0, base, base + BINS * 2);
    for (let i = 0; i < size; i++) {
      const at = base + 2 * codes[offset + rowIds[start + i]!]!;
      pool[at] = pool[at]! + orderedGradient[i]!;
      pool[at + 1] = pool[at + 1]! + orderedWeight[i]!;
    }
  }

  private subtract(from: number, part: number, columns: Int32Array): void {
    const { pool, stride } = this;
    const width = BINS * this.lanes;
    for (const column of columns) {
      const a = from * stride + column * width;
      const b = part * stride + column * width;
      for (let i = 0; i < width; i++) pool[a + i] = pool[a + i]! - pool[b + i]!;
    }
  }

  private findSplit(leaf: OpenLeaf, columns: Int32Array): void {
    const { pool, stride } = this;
    const { minLeafWeight, l2 } = this.options;
    leaf.gain = 0;
    if (leaf.weight < 2 * minLeafWeight) return;
    const parent = (leaf.gradient * leaf.gradient) / (leaf.weight + l2);
    const { lanes } = this;
    const ratio = this.options.signRatio ?? 0;
    for (const column of columns) {
      const base = leaf.slot * stride + column * BINS * lanes;
      const last = this.matrix.cuts[column]!.length;
      let gradient = 0;
      let weight = 0;
      for (let code = 0; code <= last; code++) {
        if (lanes === 1) {
          const cell = pool[base + code]!;
          const above = Math.floor(cell / ABOVE);
          const rows = cell - above * ABOVE;
          gradient += (1 - ratio) * rows - above;
          weight += rows;
        } else {
          gradient += pool[base + 2 * code]!;
          weight += pool[base + 2 * code + 1]!;
        }
        if (weight < minLeafWeight) continue;
        const restWeight = leaf.weight - weight;
        if (restWeight < minLeafWeight) break;
        const rest = leaf.gradient - gradient;
        const gain = (gradient * gradient) / (weight + l2) + (rest * rest) / (restWeight + l2) - parent;
        if (gain > leaf.gain) {
          leaf.gain = gain;
          leaf.feature = column;
          leaf.code = code;
        }
      }
    }
  }
}
