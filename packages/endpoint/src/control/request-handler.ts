/** The access point's requests and who answers them here. */
import { type Flow, RestitchError, formatFlow } from '@restitch/core';
import type { EndpointRequest, Reply, ReplyTo, SessionStats } from '@restitch/wire/internal';
import type { SourceMoves } from '../move/source-moves.js';
import type { TargetMoves } from '../move/target-moves.js';
import type { SessionTable } from '../session-table.js';
import type { Protection } from '../protect/protection.js';
import { readSessionStats } from '../session-stats.js';
import { findInKernel, type Residue } from '../tcp/kernel-sockets.js';

/** Who answers. */
export interface RequestContext {
  readonly table: SessionTable;
  readonly source: SourceMoves;
  readonly target: TargetMoves;
  readonly protection: Protection | undefined;
  /** What the sockets of this endpoint's VIPs owe their clients. */
  readonly residue: () => Residue;
}

/** Answers at once what must not wait until all is done. */
type AnswerNow = (answer: ReplyTo<'activate'>) => void;

/** Who answers which request; undefined: it was answered at once. */
type Answerers = {
  readonly [T in EndpointRequest['t']]: (
    request: Extract<EndpointRequest, { t: T }>,
    answerNow: AnswerNow,
  ) => ReplyTo<T> | Promise<ReplyTo<T>> | undefined;
};

/** Requests to answers; a refusal is thrown or rejected. What can be answered in the same turn is. */
export class RequestHandler {
  readonly #ctx: RequestContext;
  readonly #answerers: Answerers;

  constructor(context: RequestContext) {
    this.#ctx = context;
    const { source, target, residue } = context;
    this.#answerers = {
      reserve: (request) => target.reserve(request),
      prepare: (request) => source.prepare(request),
      freeze: (request) => source.freeze(request),
      activate: (request, answerNow) => target.activate(request, answerNow),
      abort: (request) => target.abort(request),
      revert: (request) => source.revert(request),
      release: (request) => source.release(request),
      query: ({ flows }) => ({ owned: this.#owned(flows) }),
      residue: () => residue(),
      reset: ({ sessionIds }) => ({ reset: this.#reset(sessionIds) }),
      stats: ({ sessionIds }) => ({ sessions: this.#stats(sessionIds) }),
      replicas: ({ owner, offset }) => this.#need().replicasOf(owner, offset ?? 0),
      'take-over': (request) => this.#need().takeOvers.takeOver(request),
    };
  }

  /** `answerNow` is for answers that must not wait until all is done; nothing is returned then. */
  handle(request: EndpointRequest, answerNow: AnswerNow): Reply | Promise<Reply> | undefined {
    const answer = this.#answerers[request.t] as (
      request: EndpointRequest,
      answerNow: AnswerNow,
    ) => Reply | Promise<Reply> | undefined;
    return answer(request, answerNow);
  }

  #need(): Protection {
    const { protection } = this.#ctx;
    if (protection === undefined) throw new RestitchError('forbidden', 'this endpoint keeps no replicas');
    return protection;
  }

  #owned(flows: readonly Flow[]): boolean[] {
    const pending = new Set(this.#ctx.target.reports().map((report) => formatFlow(report.flow)));
    const { table, protection } = this.#ctx;
    const isOurs = (flow: Flow): boolean =>
      table.ownsFlow(flow) || pending.has(formatFlow(flow)) || protection?.takeOvers.isTaking(flow) === true;
    const unknown = flows.filter((flow) => !isOurs(flow));
    // The kernel may have what no application has: in the accept queue, or finished without its process.
    const inKernel = findInKernel(unknown);
    return flows.map((flow) => isOurs(flow) || inKernel.has(formatFlow(flow)));
  }

  /** Frozen sessions are not reset: their connections may be another endpoint's by now. */
  #reset(ids: readonly string[]): number {
    let count = 0;
    for (const id of ids) {
      const session = this.#ctx.table.get(id);
      if (session?.phase === 'live') session.resetAndDestroy();
      else if (session?.phase === 'closing') session.resetClosing('drain_deadline');
      else continue;
      count++;
    }
    return count;
  }

  #stats(ids: readonly string[]): SessionStats[] {
    return ids.flatMap((id) => {
      const session = this.#ctx.table.get(id);
      return session?.phase === 'live' && session.fd >= 0 ? [readSessionStats(session)] : [];
    });
  }
}
