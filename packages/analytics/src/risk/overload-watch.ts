/**
 * Overload risk of all endpoints of a panel, live: from forecast bands (or a trained classifier where there is one) to a
 * calibrated probability of crossing the limit within the longest horizon, with its skill against the reactive threshold
 * measured on matured labels. Load that was moved away is counted back, so that preventing an overload does not teach that
 * there was nothing to prevent.
 */
import { SkillTracker, type Skill } from '../control/skill-tracker.js';
import type { PanelForecaster } from '../forecast/panel-forecaster.js';
import { exceedanceProbability } from './exceedance.js';
import type { RawScorer } from './own-model.js';
import { PlattCalibrator } from './platt-calibrator.js';

/** Setup of a watch. */
export interface OverloadWatchOptions {
  readonly panel: PanelForecaster;
  /** Limit of each series. */
  readonly limits: Float64Array;
  /** Scorer to prefer where it has a score: `OverloadModel.lastHorizonScorer()`, or an operator's own model. */
  readonly scorer?: RawScorer;
  /** Applied to probabilities before they are given out; only for trials such as an inverted model. */
  readonly distort?: (probability: number) => number;
  /** Memory of the skill in matured cases; default 300 steps of all series. */
  readonly skillMemory?: number;
  /** Hears every matured case: what was said, and whether the limit was crossed (1) or not (0). */
  readonly onCase?: (series: number, said: number, label: 0 | 1) => void;
}

/** Labels an endpoint's own calibrator remembers; small, because there is one a series. */
const OWN_MEMORY = 1_000;
/** How steeply the reactive rule's raw score rises towards the limit; its calibrator corrects the rest. */
const REACTIVE_SLOPE = 10;
const SKILL_STEPS = 300;

/** Live risks of one panel; call `step` after each `panel.observe`. */
export class OverloadWatch {
  /** Calibrated probability a series, NaN before the first value; 1 while above the limit. */
  readonly risks: Float64Array;
  private readonly horizon: number;
  private readonly shared = new PlattCalibrator();
  private readonly reactive = new PlattCalibrator();
  private readonly own: readonly PlattCalibrator[];
  private readonly tracker: SkillTracker;
  /** Per series and step of the horizon: what was said, and the values (moved load counted back) since. */
  private readonly raw: Float64Array;
  private readonly reactiveRaw: Float64Array;
  private readonly said: Float64Array;
  private readonly reactiveSaid: Float64Array;
  private readonly values: Float64Array;
  /** The limit for the load without moves, when it was said. */
  private readonly limitThen: Float64Array;
  private steps = 0;

  constructor(private readonly options: OverloadWatchOptions) {
    const { panel, limits } = options;
    this.horizon = panel.horizons[panel.horizons.length - 1]!;
    const size = limits.length * (this.horizon + 1);
    this.risks = new Float64Array(limits.length).fill(Number.NaN);
    this.own = Array.from(
      { length: limits.length },
      () => new PlattCalibrator({ memory: OWN_MEMORY, ridge: 50 }),
    );
    this.raw = new Float64Array(size).fill(Number.NaN);
    this.reactiveRaw = new Float64Array(size);
    this.said = new Float64Array(size);
    this.reactiveSaid = new Float64Array(size);
    this.values = new Float64Array(size).fill(Number.NaN);
    this.limitThen = new Float64Array(size);
    this.tracker = new SkillTracker({
      memoryCases: options.skillMemory ?? SKILL_STEPS * limits.length,
      minCases: 50,
      overlap: this.horizon,
    });
  }

  /** Skill of what was given out against the calibrated reactive rule (Brier score). */
  get skill(): Skill {
    return this.tracker.get();
  }

  /**
   * `values[s]` as observed, `movedAway[s]` the load to count back (may be omitted). With it, the panel must have been given
   * values + movedAway: what it forecasts is the load without the moves, and the limit stands higher by what was moved, or at
   * `limitsWithout[s]` where the caller knows better. An outcome counts moves made after the forecast only: those before were
   * known to it.
   */
  step(values: Float64Array, movedAway?: Float64Array, limitsWithout?: Float64Array): void {
    const { limits } = this.options;
    const slots = this.horizon + 1;
    for (let s = 0; s < limits.length; s++) {
      const slot = s * slots + (this.steps % slots);
      const moved = movedAway?.[s] ?? 0;
      this.values[slot] = values[s]! + moved;
      if (this.steps >= this.horizon) this.mature(s);
      this.limitThen[slot] = limitsWithout?.[s] ?? limits[s]! + moved;
      this.assess(s, values[s]!, slot);
    }
    this.steps++;
  }

  private mature(series: number): void {
    const slots = this.horizon + 1;
    const slot = series * slots + ((this.steps - this.horizon) % slots);
    const raw = this.raw[slot]!;
    if (raw !== raw) return;
    let peak = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < this.horizon; k++) {
      const value = this.values[series * slots + ((this.steps - k) % slots)]!;
      // A hole in the window leaves the outcome open.
      if (value !== value) return;
      peak = Math.max(peak, value);
    }
    const crossed = peak > this.limitThen[slot]!;
    const label = crossed ? 1 : 0;
    this.options.onCase?.(series, this.said[slot]!, label);
    this.tracker.record((this.said[slot]! - label) ** 2, (this.reactiveSaid[slot]! - label) ** 2);
    this.own[series]!.learn(logOdds(this.shared.probability(raw)), crossed);
    this.shared.learn(raw, crossed);
    this.reactive.learn(this.reactiveRaw[slot]!, crossed);
  }

  private assess(series: number, value: number, slot: number): void {
    const limit = this.options.limits[series]!;
    this.raw[slot] = Number.NaN;
    if (!Number.isFinite(value)) return;
    if (value > limit) {
      this.risks[series] = 1;
      return;
    }
    const raw = this.rawScore(series, value, this.limitThen[slot]!);
    const probability = this.own[series]!.probability(logOdds(this.shared.probability(raw)));
    const given = this.options.distort === undefined ? probability : this.options.distort(probability);
    this.raw[slot] = raw;
    this.said[slot] = given;
    this.reactiveRaw[slot] = REACTIVE_SLOPE * (value / limit - 1);
    this.reactiveSaid[slot] = this.reactive.probability(this.reactiveRaw[slot]!);
    this.risks[series] = given;
  }

  private rawScore(series: number, value: number, limit: number): number {
    const { panel, scorer } = this.options;
    const horizonCount = panel.horizons.length;
    const band = bandLogOdds(panel, series, horizonCount - 1, limit);
    const row = { series, value, scale: panel.frame.scale(series), features: panel.featuresOf(series) };
    return scorer?.score(row, band) ?? band;
  }
}

/** Log odds that the limit is exceeded at one of the horizons up to `lastHorizon`, by the forecast's bands alone. */
export function bandLogOdds(
  panel: PanelForecaster,
  series: number,
  lastHorizon: number,
  limit: number,
): number {
  const horizonCount = panel.horizons.length;
  const low = panel.ratios.indexOf(0.1);
  const high = panel.ratios.indexOf(0.9);
  let most = 1e-6;
  for (let h = 0; h <= lastHorizon; h++) {
    const cell = series * horizonCount + h;
    const band = {
      p10: panel.quantiles[cell * panel.ratios.length + low]!,
      p50: panel.medians[cell]!,
      p90: panel.quantiles[cell * panel.ratios.length + high]!,
    };
    const p = exceedanceProbability(band, limit);
    if (p > most) most = p;
  }
  return logOdds(most);
}

function logOdds(probability: number): number {
  const p = Math.max(1e-6, Math.min(1 - 1e-6, probability));
  return Math.log(p / (1 - p));
}
