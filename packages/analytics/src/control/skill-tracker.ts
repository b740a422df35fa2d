/**
 * Skill is measured all the time: matured losses of the model against those of a reference on the same cases, with a memory
 * that fades, and with the uncertainty of the difference, so that luck is not taken for skill.
 */

/** What is known about skill now. */
export interface Skill {
  /** 1 − model loss / reference loss; `undefined` before enough cases matured. */
  readonly skill: number | undefined;
  /** Mean loss difference (reference − model) in units of its standard error. */
  readonly certainty: number;
  /** Effective number of independent cases in memory. */
  readonly cases: number;
  /** Mean loss difference (reference − model) itself. */
  readonly gain?: number;
}

/** Size of the memory. */
export interface SkillOptions {
  /** Cases after which an old one counts 1/e. */
  readonly memoryCases: number;
  /** Cases before anything is said. */
  readonly minCases: number;
  /** Neighbouring cases whose windows overlap tell the same story: this many count as one for the certainty. Default 1. */
  readonly overlap?: number;
}

/** Discounted sums of losses. */
export class SkillTracker {
  private model = 0;
  private reference = 0;
  private differences = 0;
  private squares = 0;
  private weight = 0;
  private weightSquares = 0;
  private count = 0;

  constructor(private readonly options: SkillOptions) {}

  /** Folds in one matured case; losses that are not finite are ignored. */
  record(modelLoss: number, referenceLoss: number): void {
    if (!Number.isFinite(modelLoss) || !Number.isFinite(referenceLoss)) return;
    const keep = 1 - 1 / this.options.memoryCases;
    const difference = referenceLoss - modelLoss;
    this.model = keep * this.model + modelLoss;
    this.reference = keep * this.reference + referenceLoss;
    this.differences = keep * this.differences + difference;
    this.squares = keep * this.squares + difference * difference;
    this.weight = keep * this.weight + 1;
    this.weightSquares = keep * keep * this.weightSquares + 1;
    this.count++;
  }

  /** Present skill. */
  get(): Skill {
    const cases =
      this.weight === 0 ? 0 : (this.weight * this.weight) / this.weightSquares / (this.options.overlap ?? 1);
    if (this.count < this.options.minCases || !(this.reference > 0)) {
      return { skill: undefined, certainty: 0, cases };
    }
    const mean = this.differences / this.weight;
    const variance = Math.max(this.squares / this.weight - mean * mean, 0);
    const error = Math.sqrt(variance / Math.max(cases, 1));
    return {
      skill: 1 - this.model / this.reference,
      gain: mean,
      certainty:
        error > 0
          ? mean / error
          : mean > 0
            ? Number.POSITIVE_INFINITY
            : mean < 0
              ? Number.NEGATIVE_INFINITY
              : 0,
      cases,
    };
  }
}
