/**
 * Failure probability of one endpoint that admits when it does not know. A raw score (of shared trees, or of an operator's own
 * model) is calibrated on this endpoint's matured outcomes and compared all the time with the endpoint's own base rate. Only
 * while its Brier skill is positive beyond luck is a number given; otherwise the answer is `unknown`.
 * Why: on public data, models of failures do not carry over to machines they have not seen.
 */
import { SkillTracker } from '../control/skill-tracker.js';
import { PlattCalibrator } from './platt-calibrator.js';
import type { Risk } from './stability-score.js';

/** What was said about one moment; hand it back when the outcome is known. */
export interface FailureStatement {
  readonly score: number;
  /** Calibrated probability, whether or not it was given out. */
  readonly probability: number;
  /** The endpoint's base rate at that moment. */
  readonly baseRate: number;
  /** Whether overall skill was proven at that moment. */
  readonly proven: boolean;
  /** What was given out. */
  readonly risk: Risk;
}

/** Standard errors by which skill must differ from nothing before a number is given: the usual 95 %. */
const KNOWN_CERTAINTY = 2;
/** Memory of skill and base rate in cases. */
const SKILL_MEMORY = 10_000;
const BASE_RATE_MEMORY = 20_000;
/** Failures seen before anything is claimed: from a few nothing can be told from luck. */
const MIN_FAILURES = 5;

/** State for one endpoint and horizon. */
export class FailureRisk {
  private readonly calibrator: PlattCalibrator;
  private readonly tracker: SkillTracker;
  /** Skill on the cases where it was proven before: what looks good in hindsight must also hold from then on. */
  private readonly sinceProven: SkillTracker;
  private baseRate: number;
  private onsets = 0;
  private previous = false;

  /** `priorRate`: base rate of the peers, the start of this endpoint's own; `horizonSteps`: cases whose windows overlap. */
  constructor(priorRate: number, horizonSteps: number) {
    this.baseRate = priorRate;
    this.calibrator = new PlattCalibrator({ memory: 20_000, refitEvery: 500, ridge: 50 });
    this.tracker = new SkillTracker({ memoryCases: SKILL_MEMORY, minCases: 500, overlap: horizonSteps });
    this.sinceProven = new SkillTracker({
      memoryCases: SKILL_MEMORY,
      minCases: 10 * horizonSteps,
      overlap: horizonSteps,
    });
  }

  /** Says what is known now for raw log odds. */
  assess(score: number): FailureStatement {
    const probability = this.calibrator.probability(score);
    const { skill, certainty } = this.tracker.get();
    const proven =
      skill !== undefined && skill > 0 && certainty >= KNOWN_CERTAINTY && this.onsets >= MIN_FAILURES;
    const known = proven && (this.sinceProven.get().skill ?? 0) > 0;
    return { score, probability, baseRate: this.baseRate, proven, risk: known ? probability : 'unknown' };
  }

  /** Folds in the outcome of an earlier statement. */
  mature(statement: FailureStatement, happened: boolean): void {
    const label = happened ? 1 : 0;
    if (happened && !this.previous) this.onsets++;
    this.previous = happened;
    const loss = (statement.probability - label) ** 2;
    const reference = (statement.baseRate - label) ** 2;
    this.tracker.record(loss, reference);
    if (statement.proven) this.sinceProven.record(loss, reference);
    this.calibrator.learn(statement.score, happened);
    this.baseRate += (label - this.baseRate) / BASE_RATE_MEMORY;
  }
}
