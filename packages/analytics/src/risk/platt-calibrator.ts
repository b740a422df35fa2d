/**
 * Keeps probabilities honest online: matured (score, outcome) pairs of the recent past fit a straight line in log odds, with
 * a ridge towards "leave it as it is" so that few labels change little. A line and not isotonic regression: it cannot create
 * ties, so the ranking of the model stays.
 * Sources: Platt, "Probabilistic outputs for support vector machines", 1999; Lin, Lin & Weng, Machine Learning 68, 2007.
 */
import { sigmoid } from '../boosting/boosted-trees.js';

/** Options of a calibrator; defaults in the constructor. */
export interface PlattOptions {
  /** Pairs remembered. */
  readonly memory?: number;
  /** Pairs between two fits. */
  readonly refitEvery?: number;
  /** Strength of the ridge in pairs. */
  readonly ridge?: number;
}

/** Log odds beyond this carry no more information and would dominate the fit. */
const LOG_ODDS_BOUND = 8;

/** Pairs between two fits before the first full round: with few pairs a fit costs little and says much. */
const YOUNG_REFIT = 20;

/** Online Platt scaling. */
export class PlattCalibrator {
  slope = 1;
  intercept = 0;
  private readonly scores: Float64Array;
  private readonly labels: Uint8Array;
  private readonly refitEvery: number;
  private readonly ridge: number;
  private seen = 0;

  constructor(options: PlattOptions = {}) {
    this.scores = new Float64Array(options.memory ?? 8_000);
    this.labels = new Uint8Array(options.memory ?? 8_000);
    this.refitEvery = options.refitEvery ?? 200;
    this.ridge = options.ridge ?? 20;
  }

  /** Folds in the outcome of a forecast issued with raw log odds `score`. */
  learn(score: number, happened: boolean): void {
    const at = this.seen % this.scores.length;
    this.scores[at] = bound(score);
    this.labels[at] = happened ? 1 : 0;
    this.seen++;
    const isYoung = this.seen < this.refitEvery;
    if (this.seen % (isYoung ? YOUNG_REFIT : this.refitEvery) === 0) this.fit();
  }

  /** Calibrated probability for raw log odds. */
  probability(score: number): number {
    return sigmoid(this.slope * bound(score) + this.intercept);
  }

  /** Newton's method on the penalised log loss; five steps from the last fit are enough. */
  fit(): void {
    const count = Math.min(this.seen, this.scores.length);
    for (let step = 0; step < 5; step++) {
      let ga = this.ridge * (this.slope - 1);
      let gb = this.ridge * 0.1 * this.intercept;
      let haa = this.ridge;
      let hab = 0;
      let hbb = this.ridge * 0.1;
      for (let i = 0; i < count; i++) {
        const x = this.scores[i]!;
        const p = sigmoid(this.slope * x + this.intercept);
        const error = p - this.labels[i]!;
        const w = Math.max(p * (1 - p), 1e-6);
        ga += error * x;
        gb += error;
        haa += w * x * x;
        hab += w * x;
        hbb += w;
      }
      const determinant = haa * hbb - hab * hab;
      if (!(determinant > 1e-9)) return;
      const da = (hbb * ga - hab * gb) / determinant;
      const db = (haa * gb - hab * ga) / determinant;
      // A negative slope would say the model is inverted; that is for skill tracking to notice, not to hide here.
      this.slope = Math.max(0.05, this.slope - Math.max(-0.5, Math.min(0.5, da)));
      this.intercept -= Math.max(-1, Math.min(1, db));
    }
  }
}

function bound(score: number): number {
  return Math.max(-LOG_ODDS_BOUND, Math.min(LOG_ODDS_BOUND, score));
}
