/**
 * Newly fitted trees on trial: they forecast beside the active ones (or beside the plain mixture while there are none) and
 * their errors are compared on the same matured cases. They take over unless they are worse beyond luck: the final mixture
 * weighs them by their losses anyway, and a refit on more of the same past is not expected to be better every time.
 */
import { type Skill, SkillTracker } from '../control/skill-tracker.js';
import type { PanelModel } from './panel-model.js';

/** Cases before a verdict; a minute of a small panel with three horizons. */
const TRIAL_CASES = 300;
/** Standard errors by which trees must be worse to be dropped. */
const DROP_CERTAINTY = 1;

/** See the head of the file. */
export class TreeTrial {
  private readonly tracker: SkillTracker;
  /** Per horizon and slot of a series: step of issue, forecast on trial, forecast of the active. */
  private readonly issued: readonly Float64Array[];
  private cases = 0;

  constructor(
    readonly model: PanelModel,
    seriesCount: number,
    private readonly horizons: readonly number[],
  ) {
    this.issued = horizons.map((h) => new Float64Array(seriesCount * h * 3).fill(Number.NaN));
    this.tracker = new SkillTracker({
      memoryCases: 20 * TRIAL_CASES,
      minCases: TRIAL_CASES,
      overlap: Math.max(...horizons),
    });
  }

  /** Skill against what was active. */
  get skill(): Skill {
    return this.tracker.get();
  }

  /** Both forecasts of a series, made at `step`. */
  issue(series: number, h: number, step: number, onTrial: number, active: number): void {
    this.issued[h]!.set([step, onTrial, active], this.slot(series, h, step));
  }

  /** What really came of those made at `step`; `scale` makes series of different size comparable. */
  mature(series: number, h: number, step: number, outcome: { actual: number; scale: number }): void {
    const at = this.slot(series, h, step);
    const [madeAt, onTrial, active] = this.issued[h]!.subarray(at, at + 3);
    if (madeAt !== step || !(outcome.scale > 0)) return;
    const loss = (forecast: number): number => Math.abs(outcome.actual - forecast) / outcome.scale;
    this.tracker.record(loss(onTrial!), loss(active!));
    this.cases++;
  }

  /** Undefined while it goes on. */
  verdict(): 'promoted' | 'discarded' | undefined {
    if (this.cases < TRIAL_CASES) return undefined;
    return this.tracker.get().certainty > -DROP_CERTAINTY ? 'promoted' : 'discarded';
  }

  private slot(series: number, h: number, step: number): number {
    const horizon = this.horizons[h]!;
    return 3 * (series * horizon + (step % horizon));
  }
}
