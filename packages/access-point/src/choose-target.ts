/** Which endpoint a session goes to when nobody said: the one with the fewest sessions for its weight. */
import type { Endpoint } from './endpoint-registry.js';
import type { Session } from './session-registry.js';

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
    const load = (endpoint.sessions.size + endpoint.reserved) / endpoint.weight;
    if (load < bestLoad) {
      best = endpoint;
      bestLoad = load;
    }
  }
  return best;
}

function canTake(endpoint: Endpoint, session: Session): boolean {
  if (!endpoint.isAccepting || endpoint.weight <= 0) return false;
  if (endpoint.listenerFor(session.flow.vip) === undefined) return false;
  const capacity = endpoint.hello?.capacitySessions;
  return capacity === undefined || endpoint.sessions.size + endpoint.reserved < capacity;
}
