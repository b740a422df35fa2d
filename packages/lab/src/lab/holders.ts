/**
 * Who holds the copies of a session, by the laboratory's own reckoning: from the session list and the rule of buddy
 * choice, not from what the access point says after a fault. A verdict on the access point must not rest on its word.
 */
import { chooseBuddy } from '@restitch/guard/internal';
import type { SessionAnswer } from '@restitch/wire';
import { clientKey } from './lab-admin.js';

/** One session with its two holders. */
export interface Held {
  readonly sessionId: string;
  readonly client: string;
  readonly owner: string;
  readonly buddy: string | undefined;
}

/** All sessions with their holders while `endpoints` live; the laboratory's endpoints have no failure domains. */
export function holdersOf(sessions: readonly SessionAnswer[], endpoints: readonly string[]): Held[] {
  const candidates = endpoints.map((name) => ({ name, labels: {} }));
  return sessions.map(({ id: sessionId, endpoint: owner, flow }) => ({
    sessionId,
    client: clientKey(flow.client.address, flow.client.port),
    owner,
    buddy: chooseBuddy({ sessionId, owner: { name: owner, labels: {} }, domains: [] }, candidates),
  }));
}

/** True if no copy of the session outlives the death of `dead`. */
export function diesWith({ owner, buddy }: Held, dead: readonly string[]): boolean {
  return dead.includes(owner) && (buddy === undefined || dead.includes(buddy));
}
