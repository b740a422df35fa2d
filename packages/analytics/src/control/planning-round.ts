/**
 * One planning round: the governor says by which rule, the brakes how many, the mode what happens with the plan. The reactive rule
 * is the same planner on another view (risk is 1 where the present load has reached the trigger), so that comparing the two
 * compares the forecasts and nothing else.
 */
import type { FleetSnapshot } from '../plan/fleet.js';
import type { Objective } from '../plan/objective.js';
import { type Plan, planMoves } from '../plan/planner.js';
import { type BrakeLimits, type BrakeState, DEFAULT_BRAKES, movesAllowed } from './brakes.js';
import type { ActiveRule, GovernorState } from './mode-governor.js';

/** What a round looks at. */
export interface RoundInput {
  readonly fleet: FleetSnapshot;
  readonly objective: Objective;
  readonly governor: GovernorState;
  readonly brakes: BrakeState;
  readonly brakeLimits?: BrakeLimits;
  readonly nowMs: number;
  /** Load asked of each endpoint now, for the reactive rule. */
  readonly presentLoad: Float64Array;
  /** Load of each session now, for the same; those of the fleet may look ahead. */
  readonly presentSessionLoad?: Float32Array;
  /** Share of the limit at which the reactive rule acts; default 1. */
  readonly reactiveTrigger?: number;
}

/** What comes out: `move` the plan, `ask` a person, `show` it only, or `nothing`. */
export interface Round {
  readonly disposition: 'move' | 'ask' | 'show' | 'nothing';
  readonly rule: ActiveRule;
  readonly plan: Plan | undefined;
}

/** Risks the reactive rule stands for: as good as sure above the trigger, as good as none below. */
const REACTIVE_RISK = { above: 0.95, below: 0.01 } as const;

/** Plans one round. In `act` the brakes bound the number of moves; with a brake pulled the plan is only shown. */
export function planRound(input: RoundInput): Round {
  const { governor, brakes, nowMs } = input;
  const { rule } = governor;
  if (governor.mode === 'off' || rule === 'none') return { disposition: 'nothing', rule, plan: undefined };
  const reactive = rule === 'reactive';
  const fleet = reactive ? reactiveView(input) : input.fleet;
  // An early trigger relieves to a level below itself, or it would fire again at once.
  const relieveRatio = input.objective.relieveRatio * (reactive ? (input.reactiveTrigger ?? 1) : 1);
  const objective = { ...input.objective, relieveRatio };
  if (governor.mode !== 'act') {
    const disposition = governor.mode === 'advise' ? 'ask' : 'show';
    return { disposition, rule, plan: planMoves(fleet, objective) };
  }
  const allowed = movesAllowed(brakes, nowMs, input.brakeLimits ?? DEFAULT_BRAKES);
  const maxMoves = Math.min(input.objective.maxMoves, allowed);
  if (maxMoves <= 0) return { disposition: 'show', rule, plan: planMoves(fleet, objective) };
  return { disposition: 'move', rule, plan: planMoves(fleet, { ...objective, maxMoves }) };
}

function reactiveView(input: RoundInput): FleetSnapshot {
  const { fleet, presentLoad, presentSessionLoad } = input;
  const { endpoints } = fleet;
  const trigger = input.reactiveTrigger ?? 1;
  return {
    ...fleet,
    sessions:
      presentSessionLoad === undefined ? fleet.sessions : { ...fleet.sessions, load: presentSessionLoad },
    endpoints: {
      ...endpoints,
      // What is at its trigger is a source by its present load, and all rooms are present ones.
      rescue: new Uint8Array(endpoints.count),
      loadP50: presentLoad,
      loadP90: presentLoad,
      overloadRisk: Float64Array.from(endpoints.limit, (limit, e) =>
        presentLoad[e]! >= trigger * limit ? REACTIVE_RISK.above : REACTIVE_RISK.below,
      ),
    },
  };
}
