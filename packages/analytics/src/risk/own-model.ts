/**
 * An operator's own model in place of the trees. Such a model answers asynchronously, a planning tick does not wait, and a
 * replay must decide as it was decided: so its answers are inputs of the engine like all others. Rows go out after a step,
 * scores come in later and are used until they are too old.
 */

/** Anything that scores rows of the documented input vector. */
export interface OwnModel {
  /** Probability of the event for each of `count` rows of `width` numbers (row-major). */
  score(rows: Float32Array, count: number, width: number): Promise<Float64Array>;
}

/** Raw log odds of a series' crossing its limit, `undefined` when it has none now. */
export interface RawScorer {
  /** `bandLogOdds`: what the forecast's bands say, to lean on where the scorer has little evidence. */
  score(
    row: {
      readonly series: number;
      readonly value: number;
      readonly scale: number;
      readonly features: Float32Array;
    },
    bandLogOdds: number,
  ): number | undefined;
}

/** Input vectors of the endpoints, in the engine's order. */
export interface OwnModelRows {
  readonly metric: string;
  readonly rows: Float32Array;
  readonly count: number;
  readonly width: number;
}

/** Steps after which an answer is too old to be used. */
const MAX_AGE_STEPS = 3;
const BOUND = 1e-6;

/** Latest answers of an own model for all series. */
export class OwnScores implements RawScorer {
  private readonly latest: Float64Array;
  private givenAt = Number.NEGATIVE_INFINITY;
  private step = 0;

  constructor(seriesCount: number) {
    this.latest = new Float64Array(seriesCount).fill(Number.NaN);
  }

  /** Call once a step, before scores are asked for. */
  next(): void {
    this.step++;
  }

  /** An answer: one probability a series. What is none (null, NaN, beyond 0 to 1, missing) leaves its series to the bands. */
  give(scores: readonly (number | null)[]): void {
    for (let s = 0; s < this.latest.length; s++) {
      const p = scores[s];
      this.latest[s] = typeof p === 'number' && p >= 0 && p <= 1 ? p : Number.NaN;
    }
    this.givenAt = this.step;
  }

  score(row: { readonly series: number }): number | undefined {
    const probability = this.latest[row.series]!;
    if (Number.isNaN(probability) || this.step - this.givenAt > MAX_AGE_STEPS) return undefined;
    const p = Math.max(BOUND, Math.min(1 - BOUND, probability));
    return Math.log(p / (1 - p));
  }
}
