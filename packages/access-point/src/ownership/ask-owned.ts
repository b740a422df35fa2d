/** Asks an endpoint which of some flows it has: sessions of its own, or connections in its host's kernel. */
import type { Clock, Flow } from '@restitch/core';
import { requestSlowly } from '../model/endpoint-link.js';
import type { Endpoint } from '../model/endpoint-registry.js';

/** The schema's bound on one query. */
const flowsPerQuery = 4096;
const answerMs = 2000;

/** One word for each flow; undefined: not known. */
export async function askOwned(
  endpoint: Endpoint,
  flows: readonly Flow[],
  clock: Clock,
  deadlineMs = answerMs,
): Promise<boolean[] | undefined> {
  const owned: boolean[] = [];
  for (let i = 0; i < flows.length; i += flowsPerQuery) {
    const chunk = flows.slice(i, i + flowsPerQuery);
    if (endpoint.link === undefined) return undefined;
    try {
      const answer = await requestSlowly(endpoint.link, { t: 'query', flows: chunk }, clock, deadlineMs);
      if (answer.owned.length !== chunk.length) return undefined;
      owned.push(...answer.owned);
    } catch {
      return undefined;
    }
  }
  return owned;
}
