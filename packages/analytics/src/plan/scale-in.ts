/** Scale-in: which endpoint can be emptied, so that it can be switched off. */
import type { FleetSnapshot } from './fleet.js';
import { needOf, type Objective, roomOf } from './objective.js';

/** Room the others must keep beyond what they take, as a share of the load moved: forecasts err. */
const SPARE_RATIO = 0.25;

/**
 * The endpoint with the least load whose sessions all fit into the others' rooms with a quarter to spare; `undefined` when
 * there is none, when a pinned session would stay behind, or while any endpoint is in need.
 */
export function findEmptiable(fleet: FleetSnapshot, objective: Objective): number | undefined {
  const { endpoints, sessions } = fleet;
  for (let e = 0; e < endpoints.count; e++) if (needOf(fleet, objective, e) > 0) return undefined;
  const pinned = new Uint8Array(endpoints.count);
  for (let s = 0; s < sessions.count; s++) {
    const e = sessions.endpoint[s]!;
    if (e >= 0 && (sessions.flags[s]! & 1) === 1) pinned[e] = 1;
  }
  const rooms = Float64Array.from({ length: endpoints.count }, (_, e) => roomOf(fleet, objective, e));
  const total = rooms.reduce((sum, r) => sum + r, 0);
  let best: number | undefined;
  for (let e = 0; e < endpoints.count; e++) {
    if (endpoints.accepts[e] === 0 || pinned[e] === 1) continue;
    if (endpoints.loadP90[e]! * (1 + SPARE_RATIO) > total - rooms[e]!) continue;
    if (best === undefined || endpoints.loadP90[e]! < endpoints.loadP90[best]!) best = e;
  }
  return best;
}
