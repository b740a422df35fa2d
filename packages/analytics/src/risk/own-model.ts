/**
 * An operator's own model in place of the trees. Such a model answers asynchronously (a runtime in another thread), a planning
 * tick does not wait: scores are asked for after a step and used from the next one on, and a score that is too old is none.
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

/** Steps after which an answer is too old to be used. */
const MAX_AGE_STEPS = 3;
const BOUND = 1e-6;

/** Latest answers of an own model for all series. */
export class OwnModelScorer implements RawScorer {
  private readonly latest: Float64Array;
  private answeredAt = Number.NEGATIVE_INFINITY;
  private step = 0;
  private asking = false;
  /** Why the last request failed; `undefined` after a good one. */
  failure: string | undefined;

  constructor(
    private readonly model: OwnModel,
    private readonly seriesCount: number,
    private readonly width: number,
  ) {
    this.latest = new Float64Array(seriesCount).fill(Number.NaN);
  }

  score(row: { readonly series: number }): number | undefined {
    const probability = this.latest[row.series]!;
    if (probability !== probability || this.step - this.answeredAt > MAX_AGE_STEPS) return undefined;
    const p = Math.max(BOUND, Math.min(1 - BOUND, probability));
    return Math.log(p / (1 - p));
  }

  /**
   * Call after each step with the input vectors of all series. At most one request is under way; a failure or a wrong answer
   * leaves the series without a score, so that the built-in one takes over.
   */
  async request(rows: Float32Array): Promise<void> {
    this.step++;
    if (this.asking) return;
    this.asking = true;
    const askedAt = this.step;
    try {
      const answer = await this.model.score(rows, this.seriesCount, this.width);
      if (answer.length !== this.seriesCount)
        throw new RangeError(`${answer.length} scores for ${this.seriesCount} rows`);
      this.latest.set(answer.map((p) => (p >= 0 && p <= 1 ? p : Number.NaN)));
      this.answeredAt = askedAt;
      this.failure = undefined;
    } catch (cause) {
      this.failure = cause instanceof Error ? cause.message : String(cause);
    } finally {
      this.asking = false;
    }
  }
}
