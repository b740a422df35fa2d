/**
 * Which trained model is in use: a new one runs in shadow first, on the same cases as the active one, and replaces it only
 * with skill beyond luck; the one before is kept for a rollback. Pure; the models themselves are opaque.
 */
import { type Skill, SkillTracker } from './skill-tracker.js';

/** What changed. */
export type SlotEvent = 'promoted' | 'discarded';

/** Cases a candidate is tried on at least, and after which it is given up. */
const MIN_TRIAL_CASES = 500;
const MAX_TRIAL_CASES = 20_000;
/** Standard errors by which it must be better. */
const PROMOTE_CERTAINTY = 1;

/** Active, shadow and previous model. */
export class ModelSlots<M> {
  private activeModel: M;
  private shadowModel: M | undefined;
  private previousModel: M | undefined;
  private tracker = newTracker();
  private cases = 0;

  /** `previous`: what a rollback goes back to, from an earlier life. */
  constructor(initial: M, previous?: M) {
    this.activeModel = initial;
    this.previousModel = previous;
  }

  /** Decides. */
  get active(): M {
    return this.activeModel;
  }

  /** Only watched. */
  get shadow(): M | undefined {
    return this.shadowModel;
  }

  /** What a rollback goes back to. */
  get previous(): M | undefined {
    return this.previousModel;
  }

  /** Skill of the shadow against the active model. */
  get shadowSkill(): Skill {
    return this.tracker.get();
  }

  /** A freshly trained model goes into shadow; one that was there before is dropped. */
  train(model: M): void {
    this.shadowModel = model;
    this.tracker = newTracker();
    this.cases = 0;
  }

  /** Losses of both on one matured case. */
  record(shadowLoss: number, activeLoss: number): SlotEvent | undefined {
    if (this.shadowModel === undefined) return undefined;
    this.tracker.record(shadowLoss, activeLoss);
    this.cases++;
    const { skill, certainty } = this.tracker.get();
    if (skill !== undefined && skill > 0 && certainty >= PROMOTE_CERTAINTY) {
      this.previousModel = this.activeModel;
      this.activeModel = this.shadowModel;
      this.shadowModel = undefined;
      return 'promoted';
    }
    if (this.cases < MAX_TRIAL_CASES) return undefined;
    this.shadowModel = undefined;
    return 'discarded';
  }

  /** Back to the model before; false when there is none. */
  rollback(): boolean {
    if (this.previousModel === undefined) return false;
    this.activeModel = this.previousModel;
    this.previousModel = undefined;
    this.shadowModel = undefined;
    return true;
  }
}

function newTracker(): SkillTracker {
  return new SkillTracker({ memoryCases: MAX_TRIAL_CASES, minCases: MIN_TRIAL_CASES });
}
