/**
 * Which endpoint a session goes to when nobody said: the one with the fewest sessions for its weight, or its buddy if
 * that has hardly more, because only a delta travels there.
 */
import type { Endpoint } from '../model/endpoint-registry.js';
import type { Session } from '../model/session-registry.js';

/** A buddy this much busier than the least busy is still the better target. */
const buddyLeniencyRatio = 0.1;

/** The accepting endpoint with the least load per weight that serves the session's VIP; undefined if there is none. */
export function chooseTarget(
  session: Session,
  endpoints: readonly Endpoint[],
  excluded: ReadonlySet<Endpoint>,
): Endpoint | undefined {
  let best: Endpoint | undefined;
  let bestLoad = Number.POSITIVE_INFINITY;
  for (const endpoint of endpoints) {
    if (endpoint === session.owner || excluded.has(endpoint) || !canTake(endpoint, session)) continue;
    let load = (endpoint.sessions.size + endpoint.reserved) / endpoint.weight;
    // One session's worth, too, or a handful of sessions would never go to their buddies.
    if (isBuddy(endpoint, session)) load = load * (1 - buddyLeniencyRatio) - 1 / endpoint.weight;
    if (load < bestLoad) {
      best = endpoint;
      bestLoad = load;
    }
  }
  return best;
}

function isBuddy(endpoint: Endpoint, { buddy }: Session): boolean {
  return buddy?.isReady === true && buddy.name === endpoint.name;
}

function canTake(endpoint: Endpoint, session: Session): boolean {
  if (!endpoint.isAccepting || endpoint.weight <= 0) return false;
  if (endpoint.listenerFor(session.flow.vip) === undefined) return false;
  const capacity = endpoint.hello?.capacitySessions;
  return capacity === undefined || endpoint.sessions.size + endpoint.reserved < capacity;
}
