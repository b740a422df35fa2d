/** Sessions that ask for their own move: by a verdict (which the analytics may have taken back meanwhile), or on their own. */
import { RestitchError } from '@restitch/core';
import type { Counters, ErrorCode } from '@restitch/core';
import type { FromEndpoint } from '@restitch/wire/internal';
import type { Coordinator } from '../moves/coordinator.js';
import type { MoveResult } from '../moves/move-request.js';
import type { Endpoint } from '../model/endpoint-registry.js';
import { isThrough } from '../model/session-registry.js';
import type { SessionRegistry } from '../model/session-registry.js';
import type { AnalyticsHost } from './analytics-host.js';

/** What it works with. */
export interface SelfMoveHandlerDeps {
  readonly sessions: SessionRegistry;
  readonly coordinator: Coordinator;
  readonly counters: Counters;
  readonly analytics: AnalyticsHost | undefined;
}

type Wanted = Extract<FromEndpoint, { t: 'wants-move' }>;

/** See the head of the file. */
export class SelfMoveHandler {
  readonly #deps: SelfMoveHandlerDeps;

  constructor(deps: SelfMoveHandlerDeps) {
    this.#deps = deps;
  }

  /** Takes a question; it is answered once, to the endpoint that asked. */
  take(endpoint: Endpoint, { n, id, target, byVerdict }: Wanted): void {
    const { sessions, coordinator, counters, analytics } = this.#deps;
    const done = (result: MoveResult | RestitchError): void => {
      const { outcome, reason } = outcomeOf(result);
      endpoint.link?.tell({ t: 'move-answer', n, outcome, reason: reason.slice(0, 1000) });
    };
    const refuse = (code: ErrorCode, why: string): void => done(new RestitchError(code, why));
    counters.add('self_moves_asked_total');
    const session = sessions.byId(id);
    if (session?.owner !== endpoint) {
      refuse('unknown_session', `${id} is not a session of ${endpoint.name}`);
      return;
    }
    if (isThrough(session)) {
      refuse('unknown_session', `the application of ${id} has ended it`);
      return;
    }
    const request = { sessionId: id, from: endpoint.name, ...(target === undefined ? {} : { target }) };
    // What the application wants by itself is a move as an operator asks for it.
    if (!byVerdict) coordinator.request({ ...request, origin: 'manual' }, done);
    else if (analytics === undefined) refuse('forbidden', 'nothing moves by itself here');
    else analytics.ask(request, done);
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
