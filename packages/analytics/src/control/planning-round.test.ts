import { describe, expect, it } from 'vitest';
import { explainSession } from '../plan/explain.js';
import { createEndpointColumns, createSessionColumns, type FleetSnapshot } from '../plan/fleet.js';
import { DEFAULT_OBJECTIVE, scoreOn } from '../plan/objective.js';
import { createRandomFleet } from '../plan/random-fleet.js';
import { createBrakes, stepBrakes } from './brakes.js';
import { type AnalyticsMode, createGovernor } from './mode-governor.js';
import { planRound, type RoundInput } from './planning-round.js';

/** Ten sessions on endpoint 0, which will be overloaded but is not yet. */
function comingOverload(): FleetSnapshot {
  const sessions = createSessionColumns(10);
  const endpoints = createEndpointColumns(2);
  sessions.endpoint.fill(0);
  sessions.load.fill(0.08);
  sessions.lifeS.fill(600);
  sessions.residenceS.fill(600);
  sessions.key.set(sessions.key.map((_, i) => i));
  endpoints.limit.fill(1);
  endpoints.loadP90.set([1.2, 0.1]);
  endpoints.overloadRisk.set([0.9, 0.01]);
  return { sessions, endpoints, regionCount: 1, pathRisk: new Float32Array(2) };
}

function round(mode: AnalyticsMode, changes: Partial<RoundInput> = {}) {
  return planRound({
    fleet: comingOverload(),
    objective: DEFAULT_OBJECTIVE,
    governor: createGovernor(mode),
    brakes: stepBrakes(createBrakes(), { t: 'telemetry', atMs: 0 }).state,
    nowMs: 100,
    presentLoad: Float64Array.of(0.8, 0.1),
    ...changes,
  });
}

describe('a planning round', () => {
  it('does with the plan what the mode says', () => {
    expect(round('off')).toEqual({ disposition: 'nothing', rule: 'none', plan: undefined });
    expect(round('shadow').disposition).toBe('show');
    expect(round('advise').disposition).toBe('ask');
    const acting = round('act');
    expect(acting.disposition).toBe('move');
    expect(acting.plan!.moves.length).toBeGreaterThan(0);
  });

  it('moves nothing with a brake pulled, and no more than the brakes leave', () => {
    expect(round('act', { nowMs: 60_000 }).disposition).toBe('show');
    const brakeLimits = {
      maxRevertRatio: 1,
      revertWindowMs: 300_000,
      minMoves: 1,
      maxMovesPerMin: 2,
      staleMs: 5_000,
    };
    expect(round('act', { brakeLimits }).plan!.moves).toHaveLength(2);
  });

  it('after a fall-back acts on the present load only, from its trigger on', () => {
    const governor = { mode: 'act', rule: 'reactive', goodEvaluations: 0 } as const;
    expect(round('act', { governor }).plan!.moves).toHaveLength(0);
    const over = round('act', { governor, presentLoad: Float64Array.of(1.05, 0.1) });
    expect(over.rule).toBe('reactive');
    expect(over.plan!.moves.length).toBeGreaterThan(0);
    const early = { governor, reactiveTrigger: 0.7, presentLoad: Float64Array.of(0.8, 0.1) };
    expect(round('act', early).plan!.moves).toHaveLength(2);
  });
});

describe('an explanation', () => {
  it('has the score the planner used, and parts that sum to the risk', () => {
    const fleet = createRandomFleet({ sessions: 200, endpoints: 10, seed: 3 });
    for (let s = 0; s < 200; s++) {
      const { score, contributions } = explainSession(fleet, s);
      expect(score).toBeCloseTo(scoreOn(fleet, s, fleet.sessions.endpoint[s]!), 9);
      expect(contributions.reduce((sum, c) => sum + c.share, 0)).toBeCloseTo(1 - score, 9);
    }
  });
});
