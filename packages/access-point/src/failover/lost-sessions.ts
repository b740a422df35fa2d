/**
 * Sessions whose copies are all gone: the client is asked, and its answer says whether something was lost. A client that
 * is through, and has let go or answers nothing, has been served: its session has ended and is not lost.
 */
import { formatFlow } from '@restitch/core';
import type { Clock, Counters, Logger } from '@restitch/core';
import type { FlowRecord, ResetOutcome } from '@restitch/dataplane';
import type { ClientEnds } from '../ownership/client-ends.js';
import type { Endpoint } from '../model/endpoint-registry.js';
import type { EventFeed } from '../model/event-feed.js';
import { isThrough } from '../model/session-registry.js';
import type { Session, SessionRegistry } from '../model/session-registry.js';
import type { SessionTakeOver, TakeOverHistory } from '../model/take-over-history.js';

/** What giving sessions up needs. */
export interface LostSessionsDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly sessions: SessionRegistry;
  readonly feed: EventFeed;
  readonly takeOverHistory: TakeOverHistory;
  readonly clientEnds: ClientEnds;
}

/** What the client's answer made of it. */
export type Loss = 'lost' | 'ended';

/** What is noted of a session; the rest is the session's. */
export type Note = Omit<SessionTakeOver, 'atMs' | 'sessionId' | 'flow' | 'epoch'>;

/** A record knows the flow, not the session. */
const unknownId = 'unknown';

/** See the head of the file. */
export class LostSessions {
  readonly #deps: LostSessionsDeps;

  constructor(deps: LostSessionsDeps) {
    this.#deps = deps;
  }

  /** Nobody can go on with it: the client is told, with a reset it can check, also if it never sends anything. */
  async giveUp(session: Session, dead: Endpoint, reason: string): Promise<Loss> {
    const { clock, sessions, logger, counters, clientEnds } = this.#deps;
    session.isOrphan = false;
    session.isFinishing = false;
    sessions.remove(session);
    const beganMs = clock.monotonicMs();
    const client = await clientEnds.end(session);
    const resetMs = clock.monotonicMs() - beganMs;
    const loss = lossOf(client, isThrough(session));
    counters.add(`protection_sessions_${loss}_total`);
    const flow = formatFlow(session.flow);
    const what = { session: session.id, flow, owner: dead.name, reason, client };
    if (loss === 'lost') logger.error(what, 'session lost');
    else logger.info(what, 'session ended: its client had been served');
    this.note(session, { from: dead.name, to: null, outcome: loss, reason, client, resetMs });
    return loss;
  }

  /** Its flow is another connection's by now, as the record says: it is over, and there is nobody to be told. */
  replaced(session: Session, dead: Endpoint): void {
    const { sessions, counters, logger } = this.#deps;
    sessions.remove(session);
    counters.add('protection_sessions_ended_total');
    const { id, flow } = session;
    logger.info(
      { session: id, flow: formatFlow(flow), owner: dead.name },
      'session ended: its flow is another',
    );
    const reason = 'its flow is another connection';
    this.note(session, { from: dead.name, to: null, outcome: 'ended', reason });
  }

  /** A flow that nobody has: if its client still believes in it, it is told, and a session was lost. */
  async forsake(record: FlowRecord, dead: Endpoint): Promise<void> {
    const { clock, counters, clientEnds } = this.#deps;
    const beganMs = clock.monotonicMs();
    const client = await clientEnds.end(record);
    if (client !== 'reset') return;
    counters.add('protection_sessions_lost_total');
    const { flow, epoch } = record;
    const reason = 'nobody is left who knows of it';
    const what = { from: dead.name, to: null, outcome: 'lost', reason } as const;
    this.note({ id: unknownId, flow, epoch }, { ...what, client, resetMs: clock.monotonicMs() - beganMs });
  }

  /** Remembers what became of a session, and tells those who watch. */
  note({ id: sessionId, flow, epoch }: Pick<Session, 'id' | 'flow' | 'epoch'>, what: Note): void {
    const { clock, feed, takeOverHistory } = this.#deps;
    const takeOver = { atMs: clock.wallMs(), sessionId, flow, epoch, ...what };
    takeOverHistory.add(takeOver);
    if (feed.isWatched) feed.emit({ t: 'take-over', ...takeOver });
  }
}

/** A client that is through has no need to answer; one that is not and is silent may be cut off, and has lost something. */
function lossOf(client: ResetOutcome, isClosing: boolean): Loss {
  if (client === 'gone') return 'ended';
  return isClosing && client === 'unanswered' ? 'ended' : 'lost';
}
