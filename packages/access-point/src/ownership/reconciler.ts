/**
 * After a connection or a daemon was lost: compares what endpoints announce with the flow records, until each session
 * has one owner again. The rules are in `reconcile.ts`; here they are carried out.
 */
import { RestitchError } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import type { SessionReport } from '@restitch/wire/internal';
import type { Dataplane, FlowRecord } from '@restitch/dataplane';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { FlowBatch } from '../model/flow-batch.js';
import { judgeCopy, judgedPhaseOf } from './reconcile.js';
import type { OwnerFate, Verdict } from './reconcile.js';
import { closingOf, makeSession } from '../model/session-registry.js';
import type { Session, SessionRegistry } from '../model/session-registry.js';

/** What the reconciler works with. */
export interface ReconcilerDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly batch: FlowBatch;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly lingerMs: () => number;
  /** An endpoint serves a session that is another's by now. */
  readonly onStale: (endpoint: Endpoint) => void;
  /** The process of a session has ended. True if somebody else takes care of it: a closing one is not just forgotten. */
  readonly onOwnerGone: (session: Session) => boolean;
}

/** A copy whose fate cannot be said before another endpoint speaks. */
interface WaitingCopy {
  readonly endpoint: Endpoint;
  readonly report: SessionReport;
}

/** Brings announcements and records together. */
export class Reconciler {
  readonly #deps: ReconcilerDeps;
  /** By endpoint, while its list comes in: the ids it has named so far. */
  readonly #announced = new Map<Endpoint, Set<string>>();
  readonly #waiting = new Map<string, WaitingCopy[]>();
  /** Owners whose process is known to be gone. */
  readonly #gone = new Set<number>();
  /** After a start: endpoints of the past may still come. Later the ones that are away count as gone when down. */
  #isStarting = true;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
  }

  /** Copies that wait for another endpoint to speak. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** An endpoint begins its list. */
  beginAnnounce(endpoint: Endpoint): void {
    this.#announced.set(endpoint, new Set());
    this.#gone.delete(endpoint.id);
  }

  /** One session of the list. */
  report(endpoint: Endpoint, report: SessionReport): void {
    this.#announced.get(endpoint)?.add(report.id);
    this.#settle({ endpoint, report });
  }

  /** The list is complete: sessions it does not name have ended meanwhile, and those who waited for it can be judged. */
  endAnnounce(endpoint: Endpoint): void {
    const named = this.#announced.get(endpoint) ?? new Set();
    this.#announced.delete(endpoint);
    for (const session of endpoint.sessions) {
      // Orphans and what a kernel finishes are of a process before, and end elsewhere.
      if (!named.has(session.id) && session.isOrphan !== true && session.isFinishing !== true) {
        this.#forget(session, 'ended while its endpoint was away');
      }
    }
    this.#judgeWaiting();
  }

  /** The endpoint's process has been replaced by another: what it had and nobody else has is gone. */
  processGone(endpoint: Endpoint): void {
    this.#gone.add(endpoint.id);
    this.#judgeWaiting();
    for (const session of endpoint.sessions) {
      if (session.isFinishing === true || this.#deps.onOwnerGone(session)) continue;
      this.#forget(session, 'its process is gone');
    }
  }

  /** The endpoint was not heard in time: copies that wait for its word are judged again. */
  ownerAbsent(): void {
    this.#judgeWaiting();
  }

  /** The grace of the start is over: who has not come is gone. */
  endOfStart(): void {
    this.#isStarting = false;
    this.#judgeWaiting();
  }

  /** A move ended in doubt: an owner that is connected says whether it serves; one that is not will announce. */
  askOwner(session: Session): void {
    const { owner, flow, epoch } = session;
    owner.link?.request({ t: 'query', flows: [flow] }, (data) => {
      if (
        data === 'lost' ||
        data instanceof RestitchError ||
        session.owner !== owner ||
        session.epoch !== epoch
      ) {
        return;
      }
      if (data.owned[0] === true) {
        session.doubt = undefined;
        this.#deps.batch.push({ op: 'release', flow, epoch });
      } else this.#forget(session, 'its owner does not have it any more');
    });
  }

  #judgeWaiting(): void {
    const copies = [...this.#waiting.values()].flat();
    this.#waiting.clear();
    for (const copy of copies) this.#settle(copy);
  }

  #settle(copy: WaitingCopy): void {
    const { endpoint, report } = copy;
    // It is being given away, or a kernel finishes it: who has it is decided there.
    const known = this.#deps.sessions.byId(report.id);
    if (known?.isOrphan === true || known?.isFinishing === true) return;
    this.#deps.batch.flush();
    this.#giveUpMoveWithout(endpoint, report);
    const record = this.#deps.dataplane.lookup(report.flow);
    // An ended session's record still tells old copies apart; a live copy behind it is a new session.
    const phase = judgedPhaseOf(report.phase);
    const isOver = record?.phase === 'closing' && (phase === 'live' || report.epoch >= record.epoch);
    const usable = isOver ? undefined : record;
    const owner =
      usable === undefined
        ? undefined
        : {
            endpointId: usable.endpointId,
            epoch: usable.epoch,
            isKept: usable.phase === 'hold' || usable.phase === 'frozen',
          };
    // A copy that was never to serve came of a move from the session that this record says has ended: its source was told
    // to serve again, did, and is through. Whatever it holds is out of date.
    const verdict =
      isOver && phase === 'pending'
        ? 'abort'
        : judgeCopy(
            { endpointId: endpoint.id, epoch: report.epoch, phase },
            owner,
            this.#fateOfOwner(usable, copy),
          );
    this.#deps.counters.add(`reconcile_${verdict.replaceAll('-', '_')}_total`);
    if (verdict !== 'keep' && verdict !== 'claim') {
      const { id, epoch } = report;
      const what = { endpoint: endpoint.name, session: id, epoch, phase: report.phase, verdict };
      this.#deps.logger.info(what, 'reconcile');
    }
    this.#carryOut(verdict, copy);
  }

  /**
   * A source that came back is about to be told what the record says. A move that still waits for the image it may have
   * sent must not switch after that.
   */
  #giveUpMoveWithout(endpoint: Endpoint, report: SessionReport): void {
    const move = this.#deps.sessions.byId(report.id)?.move;
    if (move !== undefined && move.source === endpoint && move.switchNs === 0n) move.post('cancel');
  }

  /** Whether the recorded owner has spoken; without a record, whether anybody else has or may have a copy. */
  #fateOfOwner(record: FlowRecord | undefined, { endpoint, report }: WaitingCopy): OwnerFate {
    if (record === undefined) {
      const other = this.#deps.sessions.byId(report.id);
      if (other !== undefined) return 'here';
      // Anyone may serve it behind a cut: the move's other side, or somebody it has moved on to since.
      const hasEverybodySpoken = this.#deps.endpoints
        .all()
        .every((e) => e.link !== undefined && (e === endpoint || !this.#announced.has(e)));
      if (hasEverybodySpoken) return 'gone';
      return this.#isStarting ? 'may-return' : 'absent';
    }
    if (this.#gone.has(record.endpointId)) return 'gone';
    const owner = this.#deps.endpoints.byId(record.endpointId);
    if (owner?.link === undefined) {
      return this.#isStarting || (owner !== undefined && owner.liveness !== 'down') ? 'may-return' : 'absent';
    }
    if (this.#announced.has(owner)) return 'may-return';
    // Its list is complete: it either named this session or does not have it any more.
    // The same flow under another id is a claim on it, too.
    const { sessions } = this.#deps;
    const isNamed = [sessions.byId(report.id), sessions.byFlow(report.flow)].some((s) => s?.owner === owner);
    return isNamed ? 'here' : 'gone';
  }

  #carryOut(verdict: Verdict, copy: WaitingCopy): void {
    const { endpoint, report } = copy;
    const { id: sessionId, moveId, flow, epoch } = report;
    switch (verdict) {
      case 'keep':
        this.#own(endpoint, report, epoch);
        return;
      case 'keep-and-release':
        this.#deps.batch.push({ op: 'release', flow, epoch });
        this.#tellMove(this.#own(endpoint, report, epoch), moveId);
        return;
      case 'claim':
        this.#own(endpoint, report, epoch);
        this.#deps.batch.push({ op: 'claim', flow, endpointId: endpoint.id, epoch });
        return;
      case 'renew':
        this.#own(endpoint, report, epoch);
        renewRecord(this.#deps, endpoint.id, report);
        return;
      case 'revert':
        this.#deps.batch.push({ op: 'claim', flow, endpointId: endpoint.id, epoch });
        this.#serveAgain(endpoint, report, 'revert');
        return;
      case 'activate':
        this.#serveAgain(endpoint, report, 'activate');
        return;
      case 'take-over':
        this.#deps.batch.push({ op: 'claim', flow, endpointId: endpoint.id, epoch });
        this.#serveAgain(endpoint, report, 'activate');
        return;
      case 'abort':
      case 'release':
        if (moveId !== undefined) endpoint.link?.request({ t: verdict, moveId }, () => undefined);
        return;
      case 'wait': {
        const others = (this.#waiting.get(sessionId) ?? []).filter((other) => other.endpoint !== endpoint);
        this.#waiting.set(sessionId, [...others, copy]);
        return;
      }
      case 'stale':
        this.#deps.logger.error(
          { endpoint: endpoint.name, session: sessionId, epoch },
          'a live copy the record contradicts',
        );
        this.#deps.onStale(endpoint);
    }
  }

  /** The registry says from now on what the record says. */
  #own(endpoint: Endpoint, report: SessionReport, epoch: number): Session {
    const { sessions, clock } = this.#deps;
    const known = sessions.byId(report.id);
    if (known === undefined) {
      const session = makeSession(endpoint, { ...report, epoch }, clock.monotonicMs());
      sessions.add(session);
      return session;
    }
    if (known.owner !== endpoint || known.epoch !== epoch) sessions.setOwner(known, endpoint, epoch);
    sessions.setPinned(known, report.pinned);
    // A copy that waits for word need not say it; one that serves does.
    const isServing = judgedPhaseOf(report.phase) === 'live';
    if (isServing || report.closing !== undefined) sessions.setClosing(known, closingOf(report));
    known.doubt = undefined;
    return known;
  }

  #serveAgain(endpoint: Endpoint, report: SessionReport, how: 'revert' | 'activate'): void {
    const { flow, epoch, moveId } = report;
    const session = this.#own(endpoint, report, epoch);
    if (moveId === undefined) {
      this.#deps.counters.add('reconcile_no_move_id_total');
      return;
    }
    session.doubt = `waits for ${endpoint.name} to answer ${how}`;
    const message = how === 'revert' ? { t: how, moveId } : { t: how, moveId, epoch };
    endpoint.link?.request(message, (data) => {
      if (data === 'lost') return;
      session.doubt = undefined;
      if (data instanceof RestitchError) {
        this.#deps.logger.error(
          { session: report.id, code: data.code, reason: data.message },
          `${how} refused`,
        );
        this.#forget(session, `${how} refused`);
        return;
      }
      this.#deps.batch.push({ op: 'release', flow, epoch });
      if (how === 'activate') this.#tellMove(session, moveId);
    });
  }

  /** A committed move whose target was away may go on. */
  #tellMove(session: Session, moveId: string | undefined): void {
    const move = session.move;
    const isItsTarget = move !== undefined && move.switchNs > 0n && move.target === session.owner;
    if (isItsTarget && (moveId === undefined || moveId === move.id)) move.post('activated');
  }

  #forget(session: Session, reason: string): void {
    const { sessions, batch, counters, logger } = this.#deps;
    if (session.move !== undefined && session.move.source !== session.owner) {
      session.move.post('session-ended', new RestitchError('unknown_session', reason));
    }
    sessions.remove(session);
    counters.add('sessions_forgotten_total');
    logger.debug({ session: session.id, reason }, 'session forgotten');
    batch.push({ op: 'close', flow: session.flow, epoch: session.epoch, lingerMs: this.#deps.lingerMs() });
  }
}

/** Ends what the record says of a session before, and claims the flow for the one that has it now. */
export function renewRecord(
  deps: Pick<ReconcilerDeps, 'dataplane' | 'batch' | 'lingerMs'>,
  endpointId: number,
  { flow, epoch }: SessionReport,
): void {
  const record = deps.dataplane.lookup(flow);
  if (record !== undefined)
    deps.batch.push({ op: 'close', flow, epoch: record.epoch, lingerMs: deps.lingerMs() });
  deps.batch.push({ op: 'claim', flow, endpointId, epoch });
}
