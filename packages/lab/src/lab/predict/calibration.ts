/** Whether scores mean what they say: of the sessions given 80 %, did 80 % stay undisturbed? */

/** One score and what came of it, for `weight` sessions. */
export interface ScoredOutcome {
  readonly score: number;
  readonly stayedUndisturbed: boolean;
  readonly weight: number;
}

/** How far scores are from what happened. */
export interface Calibration {
  /** Mean distance between score and outcome over ten bins of the score, by weight. */
  readonly error: number;
  /** Mean score, and share of outcomes that were undisturbed. */
  readonly meanScore: number;
  readonly undisturbed: number;
  /** Session-seconds judged. */
  readonly weight: number;
}

const binCount = 10;

/** Expected calibration error with equal-width bins (Naeini et al. 2015). Undefined without outcomes. */
export function calibrate(outcomes: readonly ScoredOutcome[]): Calibration | undefined {
  const bins = Array.from({ length: binCount }, () => ({ weight: 0, score: 0, undisturbed: 0 }));
  for (const { score, stayedUndisturbed, weight } of outcomes) {
    const bin = bins[Math.min(binCount - 1, Math.floor(score * binCount))];
    if (bin === undefined) continue;
    bin.weight += weight;
    bin.score += weight * score;
    bin.undisturbed += stayedUndisturbed ? weight : 0;
  }
  const sum = (pick: (bin: (typeof bins)[number]) => number): number =>
    bins.reduce((total, bin) => total + pick(bin), 0);
  const weight = sum((bin) => bin.weight);
  if (weight === 0) return undefined;
  return {
    error: sum((bin) => Math.abs(bin.score - bin.undisturbed)) / weight,
    meanScore: sum((bin) => bin.score) / weight,
    undisturbed: sum((bin) => bin.undisturbed) / weight,
    weight,
  };
}
