/** Why a session has its score: the same risks the planner multiplies, named. */
import { type Risk, scoreStability, type StabilityScore } from '../risk/stability-score.js';
import type { FleetSnapshot } from './fleet.js';

/** Score of session `s` on endpoint `e` (where it is, by default) with the contribution of each cause. */
export function explainSession(
  fleet: FleetSnapshot,
  s: number,
  e: number = fleet.sessions.endpoint[s]!,
): StabilityScore {
  const { endpoints, sessions } = fleet;
  return scoreStability({
    load: knownOrNot(endpoints.overloadRisk[e]),
    failure: knownOrNot(endpoints.failureRisk[e]),
    path: knownOrNot(fleet.pathRisk[sessions.region[s]! * endpoints.count + e]),
    client: knownOrNot(sessions.clientRisk[s]),
    event: Number.isFinite(endpoints.eventInS[e]!) ? 1 : 0,
  });
}

function knownOrNot(risk: number | undefined): Risk {
  return risk === undefined || Number.isNaN(risk) ? 'unknown' : risk;
}
