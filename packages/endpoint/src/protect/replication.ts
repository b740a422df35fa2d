/**
 * Who keeps the replicas of an endpoint's sessions: each session has one buddy, which is chosen anew when peers come and
 * go, and hears of every commit. An older replica goes only when a newer one is there, and the gate opens only then.
 *
 * All sessions that changed in one turn commit together: one TLS write a buddy, and one write of its answer.
 */
import type { Peer } from '@restitch/wire/internal';
import { chooseBuddy } from '@restitch/guard/internal';
import { commitBytes, type ToOwner } from '@restitch/wire/internal';
import { BuddyReports } from './buddy-reports.js';
import { CommitSchedule } from './commit-schedule.js';
import { PacedQueue } from './paced-queue.js';
import { Partings } from './partings.js';
import type { ProtectedSession } from './protected-session.js';
import type { ProtectionContext } from './protection.js';
import type { ReplicatedSession } from './replicated-session.js';
import { ReplicationLink } from './replication-link.js';

/** What replication works with. */
export type ReplicationContext = Pick<
  ProtectionContext,
  'name' | 'options' | 'tls' | 'maxMessageBytes' | 'tell' | 'clock' | 'counters' | 'logger'
>;

/** The replicated sessions of one endpoint, and their buddies. */
export class Replication {
  readonly #ctx: ReplicationContext;
  readonly #onOver: (owned: ReplicatedSession) => void;
  readonly #sessions = new Map<string, ReplicatedSession>();
  readonly #links = new Map<string, ReplicationLink>();
  readonly #schedule: CommitSchedule;
  /** By endpoint and session: who has refused a replica for want of room, among the peers of now. */
  readonly #full = new Set<string>();
  readonly #reports: BuddyReports;
  readonly #partings = new Partings({
    forget: (buddy, id, epoch) => void this.#links.get(buddy)?.send({ t: 'forget', id, epoch }),
    isPeer: (name) => this.#links.has(name),
  });
  readonly #reassigning = new PacedQueue<ReplicatedSession>((owned) =>
    this.#assign(owned, this.#chooseBuddy(owned.session.id)),
  );
  #peers: readonly Peer[] = [];

  /** `onOver`: nobody keeps a replica of it any more, for its connection is over or served elsewhere. */
  constructor(context: ReplicationContext, onOver: (owned: ReplicatedSession) => void) {
    this.#ctx = context;
    this.#onOver = onOver;
    this.#reports = new BuddyReports(context.clock, context.tell);
    this.#schedule = new CommitSchedule({
      commit: (owned) => void this.#commitUnlessHeld(owned),
      onTurnDone: () => this.#links.forEach((link) => link.flush()),
      clock: context.clock,
    });
  }

  /** All that are replicated, those in the middle of a planned move included. */
  get sessions(): Iterable<ReplicatedSession> {
    return this.#sessions.values();
  }

  find(sessionId: string): ReplicatedSession | undefined {
    return this.#sessions.get(sessionId);
  }

  /** The connection to a peer; undefined if that is none. */
  linkTo(endpoint: string): ReplicationLink | undefined {
    return this.#links.get(endpoint);
  }

  /** From now on it has a buddy, if there is one, and commits what happens. */
  adopt(owned: ReplicatedSession): void {
    const { session } = owned;
    this.#sessions.set(session.id, owned);
    session.commitNow = () => {
      owned.isAsked = true;
      return this.#commitUnlessHeld(owned);
    };
    session.guards.onIdle = () => {
      owned.wentIdle();
      this.#schedule.mark(owned);
    };
    session.closingParty = owned;
    session.whenOver(() => this.#over(owned));
    owned.buddy = this.#chooseBuddy(session.id);
    if (owned.buddy === undefined) this.#ctx.counters.add('endpoint_sessions_degraded_total');
    this.#reports.note(owned);
    this.#schedule.mark(owned);
  }

  /** Something happened of which its buddy does not know: it commits at the end of this turn, or when that is worth it. */
  mark(owned: ReplicatedSession): void {
    this.#schedule.mark(owned);
  }

  /** Commits here and now what is to be replicated of it. Returns the number of its newest commit. */
  commit(owned: ReplicatedSession): number {
    const commit = owned.makeCommit();
    if (commit !== undefined && owned.buddy !== undefined) this.#links.get(owned.buddy)?.send(commit);
    // Without a buddy a session goes on unprotected, or stalls until there is one, as its listener says.
    if (owned.buddy === undefined && owned.settings.degraded === 'unprotected')
      owned.committed(owned.owner.n);
    return owned.owner.n;
  }

  /** A tail has become shorter: its buddy need not keep what the client has. */
  sendAcked(owned: ProtectedSession): void {
    if (owned.buddy === undefined || owned.isHeld || owned.waitsFor !== undefined) return;
    const commit = owned.makeAckedCommit();
    if (commit === undefined) return;
    const link = this.#links.get(owned.buddy);
    link?.send(commit);
    link?.flush();
  }

  /** Its application has ended it: nobody is to go on with it, and only then its end is told. */
  part(owned: ReplicatedSession, then: () => void): void {
    this.#schedule.forget(owned);
    this.#reassigning.delete(owned);
    this.#partings.begin(owned, then);
    this.#links.forEach((link) => link.flush());
  }

  /** Who can be a buddy from now on; sessions whose choice is another one are replicated anew. */
  setPeers(peers: readonly Peer[]): void {
    this.#peers = peers.filter((peer) => peer.name !== this.#ctx.name);
    this.#ctx.logger.info({ peers: this.#peers.map((peer) => peer.name) }, 'peers');
    this.#full.clear();
    for (const [name, link] of this.#links) {
      const peer = this.#peers.find((p) => p.name === name);
      if (peer?.instance === link.instance) continue;
      link.close();
      this.#links.delete(name);
    }
    for (const peer of this.#peers)
      if (!this.#links.has(peer.name)) this.#links.set(peer.name, this.#link(peer));
    this.#partings.peersChanged();
    for (const session of this.#sessions.values()) {
      if (session.isOver) continue;
      // A replica on a dead endpoint is no replica any more.
      for (const former of session.formerBuddies) {
        if (this.#peers.some((peer) => peer.name === former)) continue;
        session.formerBuddies.delete(former);
        session.forgetting.delete(former);
      }
      if (!this.#links.has(session.buddy ?? '')) session.storedN = 0;
      if (this.#chooseBuddy(session.session.id) !== session.buddy) this.#reassigning.add(session);
      this.#stored(session, 0);
    }
  }

  /** The access point is to hear who its buddy is. */
  noteBuddy(owned: ReplicatedSession): void {
    this.#reports.note(owned);
  }

  /** The access point has welcomed this endpoint: it knows nothing of buddies. */
  tellAllBuddies(): void {
    this.#reports.repeat(this.#sessions.values());
  }

  close(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  #chooseBuddy(sessionId: string): string | undefined {
    const { name, options } = this.#ctx;
    const domains = options.domains ?? [];
    const owner = { name, labels: options.labels ?? {} };
    const candidates = this.#peers.filter((peer) => !this.#full.has(`${peer.name} ${sessionId}`));
    const staying = candidates.filter((peer) => peer.isLeaving !== true);
    const query = { sessionId, owner, domains };
    return chooseBuddy(query, staying) ?? chooseBuddy(query, candidates);
  }

  #link(peer: Peer): ReplicationLink {
    const { name, tls, maxMessageBytes, clock, counters, logger } = this.#ctx;
    return new ReplicationLink({
      name,
      tls,
      maxMessageBytes,
      peer,
      clock,
      counters,
      logger,
      onUp: () => this.#resume(peer.name),
      onMessage: (message) => this.#hear(peer.name, message),
    });
  }

  #resume(buddy: string): void {
    this.#partings.linkUp(buddy);
    for (const session of this.#sessions.values()) {
      // What was to be forgotten over the connection before this one is asked for again.
      if (session.forgetting.delete(buddy)) this.#stored(session, 0);
    }
    const own = [...this.#sessions.values()].filter((s) => s.buddy === buddy && s.owner.n > 0);
    for (const session of own) session.resumedFromN = undefined;
    for (let i = 0; i < own.length; i += 2048) {
      const sessions = own.slice(i, i + 2048).map((s) => ({ id: s.session.id, epoch: s.session.epoch }));
      this.#links.get(buddy)?.send({ t: 'resume', sessions });
    }
    for (const session of this.#sessions.values()) if (session.buddy === buddy) this.#schedule.mark(session);
  }

  /** Returns the bytes that were sent for it. */
  #assign(owned: ReplicatedSession, next: string | undefined): number {
    const before = owned.buddy;
    if (before === next || owned.isOver) return 0;
    owned.buddy = next;
    // The old replica goes only when the new one is there.
    if (before !== undefined && this.#links.has(before)) owned.formerBuddies.add(before);
    if (next !== undefined) owned.formerBuddies.delete(next);
    owned.storedN = 0;
    owned.resumedFromN = undefined;
    if (before !== undefined && next !== undefined) owned.bereavedSinceMs ??= this.#ctx.clock.monotonicMs();
    owned.forgetting.clear();
    this.#reports.note(owned);
    this.#ctx.counters.add(
      next === undefined ? 'endpoint_sessions_degraded_total' : 'endpoint_buddy_changes_total',
    );
    if (next === undefined) this.#schedule.mark(owned);
    // A link that is not up yet asks what its buddy has when it is.
    else if (this.#links.get(next)?.isUp === true) return this.#sendFrom(owned, next, 0);
    return 0;
  }

  /** Everything that `buddy`, which has the commits up to `has`, lacks; returns the bytes. */
  #sendFrom(owned: ReplicatedSession, buddy: string, has: number): number {
    // Each commit that arrives before these makes the buddy ask again: a snapshot for each question would be a storm.
    if (owned.resumedFromN !== undefined && has < owned.resumedFromN) return 0;
    const commits = owned.owner.resume(has);
    owned.resumedFromN = commits[0]?.n;
    for (const commit of commits) this.#links.get(buddy)?.send(commit);
    return commits.reduce((sum, commit) => sum + commitBytes(commit), 0);
  }

  #hear(buddy: string, message: ToOwner): void {
    if (message.t === 'commit-refused') {
      this.#refused(buddy, message);
      return;
    }
    if (message.t === 'forgotten') {
      this.#forgotten(buddy, message);
      return;
    }
    for (const { id, epoch, n } of message.sessions) {
      const owned = this.#sessions.get(id);
      if (owned === undefined || owned.buddy !== buddy || owned.session.epoch !== epoch) continue;
      this.#stored(owned, n);
      if (message.t === 'committed') {
        if (n >= (owned.resumedFromN ?? 0)) owned.resumedFromN = undefined;
      } else this.#sendFrom(owned, buddy, n);
    }
  }

  /**
   * The buddy has commit `n`. As long as another endpoint has an older replica the gate stays shut: after two deaths
   * that one would be taken for the newest.
   */
  #stored(owned: ReplicatedSession, n: number): void {
    owned.storedN = Math.max(owned.storedN, n);
    if (owned.storedN === 0) return;
    this.#noteReplica(owned);
    const { id, epoch } = owned.session;
    for (const former of owned.formerBuddies) {
      if (owned.forgetting.has(former)) continue;
      owned.forgetting.add(former);
      this.#links.get(former)?.send({ t: 'forget', id, epoch });
    }
    if (owned.formerBuddies.size > 0) return;
    owned.committed(owned.storedN);
    this.#reports.note(owned);
    this.#schedule.acknowledged(owned);
  }

  #noteReplica(owned: ReplicatedSession): void {
    if (owned.bereavedSinceMs === undefined) return;
    const { clock, counters } = this.#ctx;
    counters.add('endpoint_rereplications_total');
    counters.add('endpoint_rereplication_ms_total', clock.monotonicMs() - owned.bereavedSinceMs);
    owned.bereavedSinceMs = undefined;
  }

  #forgotten(former: string, { id, epoch }: { readonly id: string; readonly epoch: number }): void {
    this.#partings.forgotten(former, id, epoch);
    const owned = this.#sessions.get(id);
    if (owned === undefined || owned.session.epoch !== epoch || !owned.forgetting.delete(former)) return;
    owned.formerBuddies.delete(former);
    this.#stored(owned, 0);
  }

  #refused(buddy: string, message: Extract<ToOwner, { t: 'commit-refused' }>): void {
    const owned = this.#sessions.get(message.id);
    this.#ctx.counters.add(`endpoint_commits_refused_${message.code}_total`);
    if (owned === undefined || owned.buddy !== buddy) return;
    if (message.code === 'no_capacity') {
      this.#full.add(`${buddy} ${message.id}`);
      this.#assign(owned, this.#chooseBuddy(message.id));
    } else if (message.code === 'message_invalid') {
      owned.resumedFromN = undefined;
      this.#sendFrom(owned, buddy, 0);
    }
  }

  /** Number of the newest commit, whether this call made it or an earlier one. A frozen session makes none. */
  #commitUnlessHeld(owned: ReplicatedSession): number {
    return owned.isHeld ? owned.owner.n : this.commit(owned);
  }

  /** Its connection is over, or served elsewhere: until now its buddy may have been needed. */
  #over(owned: ReplicatedSession): void {
    const { id } = owned.session;
    owned.over();
    this.#partings.drop(id);
    if (this.#sessions.get(id) === owned) this.#sessions.delete(id);
    this.#forget(owned);
    this.#onOver(owned);
  }

  /** Nobody is to go on with it. */
  #forget(owned: ReplicatedSession): void {
    const { id, epoch } = owned.session;
    this.#schedule.forget(owned);
    this.#reassigning.delete(owned);
    for (const buddy of [...owned.formerBuddies, owned.buddy ?? '']) {
      this.#links.get(buddy)?.send({ t: 'forget', id, epoch });
    }
  }
}
