/**
 * Closing sessions whose process has ended and whose host lives: at levels none and periodic the kernel goes on delivering
 * what the application has written, and our FIN. Record and session stay with their owner until somebody who can see the
 * kernel says that it is done: the host's agent, or the next process of the same name, which is asked. When nobody can see
 * it any more the client is told.
 */
import { RestitchError, formatFlow } from '@restitch/core';
import type { Clock, Counters, Flow, Logger } from '@restitch/core';
import type { Dataplane } from '@restitch/dataplane';
import { askOwned } from '../ownership/ask-owned.js';
import type { Endpoint, EndpointRegistry } from '../model/endpoint-registry.js';
import type { EventFeed } from '../model/event-feed.js';
import type { FlowBatch } from '../model/flow-batch.js';
import type { HostAgents } from './host-agents.js';
import type { LostSessions } from './lost-sessions.js';
import type { MoveUnderWay } from '../model/move-under-way.js';
import type { Session, SessionRegistry } from '../model/session-registry.js';

/** What it works with. */
export interface FinishingDeps {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly dataplane: Dataplane;
  readonly batch: FlowBatch;
  readonly endpoints: EndpointRegistry;
  readonly sessions: SessionRegistry;
  readonly feed: EventFeed;
  readonly agents: HostAgents;
  readonly lost: LostSessions;
  /** An agent that is silent for so long may be dead; for twice as long it is. */
  readonly detectionMs: () => number;
  readonly lingerMs: () => number;
}

/** One flow that a kernel is done with. */
export interface FinishedFlow {
  readonly flow: Flow;
  readonly epoch: number;
}

interface Host {
  /** The last process of that host that has ended. */
  deadInstance: string;
  /** With the move that was under way when the process ended: it decides first who has the session. */
  readonly sessions: Map<Session, MoveUnderWay | undefined>;
  /** Since when nobody can see that kernel. */
  unseenSinceMs: number | undefined;
  nextQuestionMs: number;
  questionDelayMs: number;
}

const firstQuestionMs = 200;
const lastQuestionMs = 5000;

/** See the head of the file. */
export class Finishing {
  readonly #deps: FinishingDeps;
  readonly #hosts = new Map<Endpoint, Host>();

  constructor(deps: FinishingDeps) {
    this.#deps = deps;
  }

  /** Sessions that kernels are delivering. */
  get size(): number {
    return [...this.#hosts.values()].reduce((sum, host) => sum + host.sessions.size, 0);
  }

  /**
   * The process has ended. True if its session is a kernel's to finish and somebody can see that kernel: it is taken charge
   * of here. False: it is to be given away or given up as any other. `isReplaced`: the next process is at the door.
   */
  take(session: Session, deadInstance: string, isReplaced: boolean): boolean {
    if (session.closing?.finisher !== 'kernel') return false;
    // Its socket may be frozen: then it dies with the process.
    if (session.doubt !== undefined) return false;
    const { owner } = session;
    if (!isReplaced && !this.#isSeen(owner, deadInstance)) return false;
    const host = this.#hosts.get(owner) ?? this.#openHost(owner, deadInstance);
    host.deadInstance = deadInstance;
    session.isFinishing = true;
    host.sessions.set(session, session.move);
    this.#deps.counters.add('protection_sessions_finishing_total');
    const reason = 'the kernel of its host delivers the rest';
    this.#deps.lost.note(session, { from: owner.name, to: null, outcome: 'finishing', reason });
    return true;
  }

  /** The agent of `name` says that its kernel is done with these. It may speak only of its own endpoint's. */
  finished(name: string, flows: readonly FinishedFlow[]): void {
    const { sessions, counters } = this.#deps;
    for (const { flow, epoch } of flows) {
      const session = sessions.byFlow(flow);
      if (session === undefined) this.#closeForgotten(name, { flow, epoch });
      else if (session.epoch !== epoch) counters.add('protection_finished_stale_total');
      else if (session.owner.name !== name) {
        throw new RestitchError(
          'forbidden',
          `the agent of ${name} spoke of ${formatFlow(flow)}, which is ${session.owner.name}'s`,
        );
      } else if (session.isFinishing === true) this.#end(session, 'finished');
      else {
        // Served by a process that lives, as far as is known here. Its host may know better: a process that stands still
        // has no lease any more before it is declared dead, and the agent, which says it once, is not asked again.
        session.kernelDoneEpoch = epoch;
        counters.add('protection_finished_unexpected_total');
      }
    }
  }

  /** Time passed. */
  look(nowMs: number): void {
    for (const [owner, host] of this.#hosts) {
      this.#settleMoves(owner, host);
      if (host.sessions.size === 0) {
        this.#hosts.delete(owner);
        continue;
      }
      const isAskable = hasSuccessor(owner, host.deadInstance);
      // Also where an agent is heard: it looks after processes that have ended, and a fenced one may live on.
      if (isAskable && nowMs >= host.nextQuestionMs) void this.#ask(owner, host, nowMs);
      if (isAskable || this.#deps.agents.isHeard(owner.name, this.#deps.detectionMs())) {
        host.unseenSinceMs = undefined;
      } else {
        host.unseenSinceMs ??= nowMs;
        if (nowMs - host.unseenSinceMs > this.#deps.detectionMs()) this.#giveUp(owner, host);
      }
    }
  }

  #isSeen(owner: Endpoint, deadInstance: string): boolean {
    return (
      this.#deps.agents.isHeard(owner.name, this.#deps.detectionMs()) || hasSuccessor(owner, deadInstance)
    );
  }

  #openHost(owner: Endpoint, deadInstance: string): Host {
    const host: Host = {
      deadInstance,
      sessions: new Map(),
      unseenSinceMs: undefined,
      nextQuestionMs: 0,
      questionDelayMs: firstQuestionMs,
    };
    this.#hosts.set(owner, host);
    return host;
  }

  /** Ends those that are over, and drops those whose move has given them to somebody else, or has lost them. */
  #settleMoves(owner: Endpoint, host: Host): void {
    for (const [session, move] of host.sessions) {
      const isGone = this.#deps.sessions.byId(session.id) !== session;
      if (!isGone && session.move !== undefined) continue;
      if (isGone || session.owner !== owner) {
        session.isFinishing = false;
        host.sessions.delete(session);
      } else if (move?.outcome === 'failed') {
        // Its socket was frozen, and died so.
        host.sessions.delete(session);
        void this.#deps.lost.giveUp(session, owner, 'its process died in the middle of a move');
      } else if (session.kernelDoneEpoch === session.epoch) this.#end(session, 'finished');
    }
  }

  async #ask(owner: Endpoint, host: Host, nowMs: number): Promise<void> {
    host.questionDelayMs = Math.min(host.questionDelayMs * 2, lastQuestionMs);
    host.nextQuestionMs = nowMs + host.questionDelayMs;
    const asked = [...host.sessions.keys()].filter((session) => session.move === undefined);
    const owned = await askOwned(
      owner,
      asked.map((session) => session.flow),
      this.#deps.clock,
    );
    for (const [i, session] of asked.entries()) {
      if (owned?.[i] === false && session.isFinishing === true && session.owner === owner) {
        this.#end(session, 'finished');
        host.questionDelayMs = firstQuestionMs;
      }
    }
  }

  #giveUp(owner: Endpoint, host: Host): void {
    this.#hosts.delete(owner);
    for (const session of host.sessions.keys()) {
      void this.#deps.lost.giveUp(
        session,
        owner,
        'its process had ended, and its host is not heard any more',
      );
    }
  }

  #end(session: Session, reason: string): void {
    const { sessions, batch, counters, feed, clock, lingerMs } = this.#deps;
    const { id: sessionId, flow, epoch, owner } = session;
    session.isFinishing = false;
    session.end = 'closed';
    sessions.remove(session);
    counters.add('protection_sessions_finished_total');
    if (feed.isWatched) {
      feed.emit({ t: 'ended', atMs: clock.wallMs(), sessionId, endpoint: owner.name, reason });
    }
    batch.push({ op: 'close', flow, epoch, lingerMs: lingerMs() });
  }

  /** The daemon that knew of the session is dead; its record stayed, as that of any flow in use. */
  #closeForgotten(name: string, { flow, epoch }: FinishedFlow): void {
    const { dataplane, endpoints, batch, counters, lingerMs } = this.#deps;
    const record = dataplane.lookup(flow);
    if (record === undefined || record.phase === 'closing' || record.epoch !== epoch) return;
    if (endpoints.byId(record.endpointId)?.name !== name) return;
    counters.add('protection_finished_forgotten_total');
    batch.push({ op: 'close', flow, epoch, lingerMs: lingerMs() });
  }
}

/** True if another process of that name is connected: it sees its host's kernel. */
function hasSuccessor({ hello, link }: Endpoint, deadInstance: string): boolean {
  return link !== undefined && hello !== undefined && hello.instance !== deadInstance;
}
