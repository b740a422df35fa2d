/**
 * Which rule decides about moves: a pure state machine over the configured mode and the measured skill. In `act` a model that
 * lost its skill hands over to the reactive rule by itself and comes back when it has earned it for a while.
 */
import type { Skill } from './skill-tracker.js';

/** As configured by the operator. */
export type AnalyticsMode = 'off' | 'shadow' | 'advise' | 'act';

/** Who plans moves now. `none`: nobody; plans may still be computed for show. */
export type ActiveRule = 'none' | 'predictive' | 'reactive';

/** State of the governor. */
export interface GovernorState {
  readonly mode: AnalyticsMode;
  readonly rule: ActiveRule;
  /** Evaluations in a row that earned a return, while reactive. */
  readonly goodEvaluations: number;
}

/** What happened. */
export type GovernorInput =
  | { readonly t: 'mode'; readonly mode: AnalyticsMode }
  | { readonly t: 'skill'; readonly skill: Skill };

/** What to tell the operator. */
export type GovernorEvent =
  | { readonly t: 'modeChanged'; readonly from: AnalyticsMode; readonly to: AnalyticsMode }
  | { readonly t: 'fellBack'; readonly skill: number }
  | { readonly t: 'returned'; readonly skill: number };

/** Certainty (standard errors) at which a model is believed to be worse, and at which it is believed to be better. */
const FALL_CERTAINTY = -2;
const RETURN_CERTAINTY = 1;
/** Good evaluations in a row before the model is trusted again: it should not flap. */
const RETURN_EVALUATIONS = 3;

/** Start state: `shadow`, as the default of the configuration. */
export function createGovernor(mode: AnalyticsMode = 'shadow'): GovernorState {
  return { mode, rule: ruleOf(mode), goodEvaluations: 0 };
}

/** One step. Skill without enough cases changes nothing: a model is not condemned before it was tried in shadow. */
export function stepGovernor(
  state: GovernorState,
  input: GovernorInput,
): { readonly state: GovernorState; readonly events: readonly GovernorEvent[] } {
  if (input.t === 'mode') {
    if (input.mode === state.mode) return { state, events: [] };
    // A model that fell back stays back when the mode is switched to and fro: otherwise switching would be a way around.
    const rule =
      ruleOf(input.mode) === 'predictive' && state.rule === 'reactive' ? 'reactive' : ruleOf(input.mode);
    return {
      state: { mode: input.mode, rule, goodEvaluations: 0 },
      events: [{ t: 'modeChanged', from: state.mode, to: input.mode }],
    };
  }
  const { skill, certainty } = input.skill;
  if (skill === undefined || state.rule === 'none') return { state, events: [] };
  if (state.rule === 'predictive') {
    if (skill >= 0 || certainty > FALL_CERTAINTY) return { state, events: [] };
    return { state: { ...state, rule: 'reactive', goodEvaluations: 0 }, events: [{ t: 'fellBack', skill }] };
  }
  const good = skill > 0 && certainty >= RETURN_CERTAINTY ? state.goodEvaluations + 1 : 0;
  if (good < RETURN_EVALUATIONS) return { state: { ...state, goodEvaluations: good }, events: [] };
  return { state: { ...state, rule: 'predictive', goodEvaluations: 0 }, events: [{ t: 'returned', skill }] };
}

function ruleOf(mode: AnalyticsMode): ActiveRule {
  return mode === 'off' ? 'none' : 'predictive';
}
