/** Sessions that ask for their own move: by a verdict (which the analytics may have taken back meanwhile), or on their own. */
import { RestitchError } from '@restitch/core';
import type { Counters } from '@restitch/core';
import type { FromEndpoint } from '@restitch/wire/internal';
import type { Coordinator } from '../moves/coordinator.js';
import type { MoveResult } from '../moves/move-request.js';
import type { Endpoint } from '../model/endpoint-registry.js';
import { isThrough } from '../model/session-registry.js';
import type { SessionRegistry } from '../model/session-registry.js';
import type { AnalyticsHost } from './analytics-host.js';

/** What the desk works with. */
export interface SelfMoveDeskDeps {
  readonly sessions: SessionRegistry;
  readonly coordinator: Coordinator;
  readonly counters: Counters;
  readonly analytics: AnalyticsHost | undefined;
}

type Wanted = Extract<FromEndpoint, { t: 'wants-move' }>;

/** See the head of the file. */
export class SelfMoveDesk {
  readonly #deps: SelfMoveDeskDeps;

  constructor(deps: SelfMoveDeskDeps) {
    this.#deps = deps;
  }

  /** Takes a question; it is answered once, to the endpoint that asked. */
  take(endpoint: Endpoint, { n, id, target, byVerdict }: Wanted): void {
    const { sessions, coordinator, counters, analytics } = this.#deps;
    const answer = (outcome: 'committed' | 'refused' | 'reverted' | 'failed', reason: string): void =>
      endpoint.link?.tell({ t: 'move-answer', n, outcome, reason: reason.slice(0, 1000) });
    counters.add('self_moves_asked_total');
    if (sessions.byId(id)?.owner !== endpoint) {
      answer('refused', `unknown_session: ${id} is not a session of ${endpoint.name}`);
      return;
    }
    const session = sessions.byId(id);
    if (session !== undefined && isThrough(session)) {
      answer('refused', `unknown_session: the application of ${id} has ended it`);
      return;
    }
    if (byVerdict && analytics?.allowsSelfMoves !== true) {
      answer('refused', 'forbidden: nothing moves by itself now');
      return;
    }
    if (byVerdict) analytics?.selfMoveBegan(id);
    const request = {
      sessionId: id,
      // It stands at its safe point and waits: it goes before what merely would be good.
      origin: 'manual' as const,
      isAutomatic: byVerdict,
      ...(target === undefined ? {} : { target }),
    };
    coordinator.request(request, (result) => {
      const { outcome, reason } = outcomeOf(result);
      if (byVerdict) analytics?.selfMoveEnded(id, endpoint.name, outcome === 'failed' ? 'refused' : outcome);
      answer(outcome, reason);
    });
  }
}

function outcomeOf(result: MoveResult | RestitchError): {
  outcome: 'committed' | 'refused' | 'reverted' | 'failed';
  reason: string;
} {
  if (result instanceof RestitchError)
    return { outcome: 'refused', reason: `${result.code}: ${result.message}` };
  const { outcome, failure } = result.record;
  return { outcome, reason: failure === undefined ? outcome : `${failure.code}: ${failure.message}` };
}
