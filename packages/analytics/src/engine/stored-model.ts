/**
 * Trained models as text and back: one metric's forecast trees and overload classifier, each checked by the model codec, so
 * that what is damaged or was fitted to other inputs is found out and left.
 */
import { encodeModel, parseModel } from '../forecast/model-codec.js';
import type { PanelModel } from '../forecast/panel-model.js';
import type { OverloadTrees } from '../risk/overload-model.js';

const VERSION = 1;
/** The classifier sees one number more than the forecaster. */
const DISTANCE = 'distance-to-limit';
/** A model that was taken up counts as fitted at this step: the next fit waits until there are rows for one. */
const RESTORED_STEP = 400;

/** One metric's models as texts of the codec. */
export interface StoredMetric {
  readonly panel?: string;
  readonly overload?: string;
  readonly positives?: readonly number[];
  /** What a rollback goes back to, by part; a part that is empty means: without trees. */
  readonly before?: {
    readonly panel?: StoredMetric;
    readonly overload?: StoredMetric;
  };
}

/** Encodes what is trained; undefined when nothing is. */
export function encodeMetric(
  panelModel: PanelModel | undefined,
  trees: OverloadTrees | undefined,
  features: readonly string[],
): StoredMetric | undefined {
  if (panelModel === undefined && trees === undefined) return undefined;
  return {
    ...(panelModel === undefined ? {} : { panel: encodeModel(panelModel, features) }),
    ...(trees === undefined ? {} : encodeTrees(trees, features)),
  };
}

function encodeTrees(trees: OverloadTrees, features: readonly string[]): StoredMetric {
  const changes = trees.byHorizon.map((t) => (t === undefined ? [] : [t]));
  return {
    overload: encodeModel({ trainedStep: 0, changes }, [...features, DISTANCE]),
    positives: trees.positives,
  };
}

/** Reads what `encodeMetric` gave for the same features; what does not fit is undefined. */
export function decodeMetric(
  stored: StoredMetric,
  features: readonly string[],
): { readonly panelModel: PanelModel | undefined; readonly trees: OverloadTrees | undefined } {
  const panel = stored.panel === undefined ? undefined : parseModel(stored.panel, features);
  const overload =
    stored.overload === undefined ? undefined : parseModel(stored.overload, [...features, DISTANCE]);
  const { positives } = stored;
  const isSound =
    overload !== undefined &&
    Array.isArray(positives) &&
    positives.length === overload.changes.length &&
    positives.every((n) => Number.isFinite(n));
  return {
    panelModel: panel === undefined ? undefined : { ...panel, trainedStep: RESTORED_STEP },
    trees: isSound
      ? { trainedAt: 0, byHorizon: overload.changes.map((row) => row[0]), positives: positives as number[] }
      : undefined,
  };
}

/** All metrics as one text; undefined when there are none. */
export function encodeStoredModel(metrics: Readonly<Record<string, StoredMetric>>): string | undefined {
  return Object.keys(metrics).length === 0 ? undefined : JSON.stringify({ version: VERSION, metrics });
}

/** Reads the outer text; undefined for anything else. The inner ones are checked when their metric is first seen. */
export function parseStoredModel(text: string): Readonly<Record<string, StoredMetric>> | undefined {
  try {
    const outer = JSON.parse(text) as { version?: unknown; metrics?: unknown };
    if (outer.version !== VERSION || typeof outer.metrics !== 'object' || outer.metrics === null)
      return undefined;
    const entries = Object.entries(outer.metrics as Record<string, unknown>);
    const isSound = entries.every(
      ([, m]) =>
        typeof m === 'object' &&
        m !== null &&
        ['panel', 'overload'].every((key) => ['string', 'undefined'].includes(typeof Reflect.get(m, key))),
    );
    return isSound ? (Object.fromEntries(entries) as Record<string, StoredMetric>) : undefined;
  } catch {
    // Not JSON: not a model.
    return undefined;
  }
}
