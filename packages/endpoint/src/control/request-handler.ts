/** The access point's requests and who answers them here. */
import { type Flow, RestitchError, formatFlow } from '@restitch/core';
import type { EndpointRequest } from '@restitch/wire/internal';
import type { SourceMoves } from '../move/source-moves.js';
import type { TargetMoves } from '../move/target-moves.js';
import type { SessionTable } from '../session-table.js';
import type { Protection } from '../protect/protection.js';
import { type SessionStats, readSessionStats } from '../session-stats.js';
import { findInKernel, type Residue } from '../tcp/kernel-sockets.js';

type Answer = Record<string, unknown>;

/** Who answers. */
export interface RequestContext {
  readonly table: SessionTable;
  readonly source: SourceMoves;
  readonly target: TargetMoves;
  readonly protection: Protection | undefined;
  /** What the sockets of this endpoint's VIPs owe their clients. */
  readonly residue: () => Residue;
}

/** Requests to answers; a refusal is thrown or rejected. What can be answered in the same turn is. */
export class RequestHandler {
  readonly #ctx: RequestContext;

  constructor(context: RequestContext) {
    this.#ctx = context;
  }

  /** `answerNow` is for answers that must not wait until all is done; nothing is returned then. */
  handle(
    request: EndpointRequest,
    answerNow: (answer: Answer) => void,
  ): Answer | Promise<Answer> | undefined {
    const { source, target } = this.#ctx;
    switch (request.t) {
      case 'reserve':
        return target.reserve(request);
      case 'prepare':
        return source.prepare(request);
      case 'freeze':
        return source.freeze(request);
      case 'activate':
        return target.activate(request, answerNow);
      case 'abort':
        return target.abort(request);
      case 'revert':
        return source.revert(request);
      case 'release':
        return source.release(request);
      case 'query':
        return { owned: this.#owned(request.flows) };
      case 'residue':
        return { ...this.#ctx.residue() };
      case 'reset':
        return { reset: this.#reset(request.sessionIds) };
      case 'stats':
        return { sessions: this.#stats(request.sessionIds) };
      case 'replicas':
        return this.#need().replicasOf(request.owner, request.offset ?? 0);
      case 'take-over':
        return this.#need().takeOvers.takeOver(request);
      default:
        throw new RestitchError('message_invalid', 'a request of an unknown kind');
    }
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
