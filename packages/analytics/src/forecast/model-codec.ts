/**
 * A trained model as text and back. Versioned, checked and bounded: whatever is not exactly what was written reads as
 * `undefined`, and the caller starts cold and says so. Writing it atomically is the business of whoever owns the file.
 */
import type { BoostedTrees, BoostLoss } from '../boosting/boosted-trees.js';
import type { PanelModel } from './panel-model.js';

const VERSION = 1;
/** Longest text that is read: a model of three horizons takes about one megabyte. */
const MAX_LENGTH = 64 * 1024 * 1024;
const MAX_NODES = 1_000_000;

/** Encodes a model; `features` names its inputs, so that it is not used with others. */
export function encodeModel(model: PanelModel, features: readonly string[]): string {
  const body = JSON.stringify({
    features,
    trainedStep: model.trainedStep,
    changes: model.changes.map((row) => row.map(flatten)),
  });
  return JSON.stringify({ version: VERSION, checksum: checksum(body), body });
}

/** Reads what `encodeModel` wrote for the same features; anything else is `undefined`. */
export function parseModel(text: string, features: readonly string[]): PanelModel | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  try {
    const outer = JSON.parse(text) as { version?: unknown; checksum?: unknown; body?: unknown };
    if (outer.version !== VERSION || typeof outer.body !== 'string') return undefined;
    if (outer.checksum !== checksum(outer.body)) return undefined;
    const body = JSON.parse(outer.body) as { features?: unknown; trainedStep?: unknown; changes?: unknown };
    if (JSON.stringify(body.features) !== JSON.stringify(features)) return undefined;
    if (!Number.isInteger(body.trainedStep) || !Array.isArray(body.changes)) return undefined;
    const changes = body.changes.map((row: unknown) =>
      (row as unknown[]).map((trees) => restore(trees as FlatTrees, features.length)),
    );
    return { trainedStep: body.trainedStep as number, changes };
  } catch {
    // Broken JSON, missing fields, or a tree that points outside itself: all are "not a model".
    return undefined;
  }
}

interface FlatTrees {
  readonly loss: BoostLoss;
  readonly base: number;
  readonly roots: readonly number[];
  readonly features: readonly number[];
  readonly thresholds: readonly (number | null)[];
  readonly left: readonly number[];
  readonly values: readonly number[];
}

function flatten(trees: BoostedTrees): FlatTrees {
  return {
    loss: trees.loss,
    base: trees.base,
    roots: [...trees.roots],
    features: [...trees.features],
    // JSON has no −Infinity; it stands for "only missing values go left".
    thresholds: [...trees.thresholds].map((t) => (Number.isFinite(t) ? t : null)),
    left: [...trees.left],
    values: [...trees.values],
  };
}

function restore(flat: FlatTrees, featureCount: number): BoostedTrees {
  const nodes = flat.features.length;
  const sound =
    nodes <= MAX_NODES &&
    [flat.thresholds.length, flat.left.length, flat.values.length].every((n) => n === nodes) &&
    Number.isFinite(flat.base) &&
    flat.values.every((v) => Number.isFinite(v)) &&
    flat.roots.every((r) => Number.isInteger(r) && r >= 0 && r < nodes) &&
    flat.features.every((f) => Number.isInteger(f) && f >= 0 && f < featureCount) &&
    // Children stand after their parent: no walk can run in a circle.
    flat.left.every(
      (child, node) => child === -1 || (Number.isInteger(child) && child > node && child + 1 < nodes),
    );
  if (!sound) throw new TypeError('unsound tree');
  return {
    loss: flat.loss,
    base: flat.base,
    roots: Int32Array.from(flat.roots),
    features: Int32Array.from(flat.features),
    thresholds: Float32Array.from(flat.thresholds, (t) => t ?? Number.NEGATIVE_INFINITY),
    left: Int32Array.from(flat.left),
    values: Float64Array.from(flat.values),
  };
}

/** FNV-1a over UTF-16 units: finds damage, not intent. */
function checksum(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
