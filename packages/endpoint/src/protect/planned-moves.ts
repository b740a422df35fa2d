/** Planned moves of protected sessions at this endpoint, as source and as target; the rules are in docs/crash.md. */
import type { Socket } from 'node:net';
import { addSeq } from '@restitch/core';
import type { TcpImage, Commit, Opening } from '@restitch/wire/internal';
import type { ProtectionSettings } from '@restitch/guard';
import type { BuddyStore, GuardControl, Replica } from '@restitch/guard/internal';
import type { Carrier } from '../session/carrier.js';
import { getSocketHandle } from '../session/node-handle.js';
import type { FrozenSession } from '../session/session-init.js';
import type { Session } from '../session/session.js';
import { readWrittenEnd } from '../tcp/index.js';
import { type ArrivedSession, freezeProtected, type FrozenParts } from './planned-move.js';
import { ProtectedCarrier } from './protected-carrier.js';
import type { ContinuedFrom, ProtectedSession } from './protected-session.js';
import type { ReplicationLink } from './replication-link.js';

/** The commit an image stands on. */
export interface ReplicaBase {
  readonly epoch: number;
  readonly n: number;
}

/** Where a session that comes goes on. */
export interface Continuation {
  readonly continued: ContinuedFrom;
  readonly opening: Opening;
}

/** What planned moves work with. */
export interface PlannedMoveHost {
  readonly store: BuddyStore;
  readonly guard: () => GuardControl;
  readonly lease: () => number;
  readonly sessionOf: (id: string) => ProtectedSession | undefined;
  /** Of a session at another level. */
  readonly plainCarrier: (session: Session, socket: Socket) => Carrier;
  readonly linkTo: (endpoint: string) => ReplicationLink | undefined;
  readonly own: (session: Session, settings: ProtectionSettings, from: Continuation) => ProtectedSession;
  /** Gives it a buddy and sends that its first commit. */
  readonly adopt: (owned: ProtectedSession) => void;
  /** Urgent bytes that come alone on this connection are to be noticed. */
  readonly watchUrgent: (fd: number) => void;
  /** The access point is to hear who its buddy is. */
  readonly noteBuddy: (owned: ProtectedSession) => void;
}

/** Both halves of planned moves. */
export class PlannedMoves {
  readonly #host: PlannedMoveHost;
  /** By owner and session: who waits for a commit to arrive here. */
  readonly #awaited = new Map<string, () => void>();

  constructor(host: PlannedMoveHost) {
    this.#host = host;
  }

  /** What the image of a frozen session is made of; undefined for one that is not protected. */
  freeze(session: Session, frozen: FrozenSession, tcp: TcpImage, target: string): FrozenParts | undefined {
    const owned = this.#host.sessionOf(session.id);
    if (owned === undefined) return undefined;
    const link = this.#host.linkTo(target);
    const isReadyBuddy = owned.buddy === target && owned.storedN > 0 && owned.formerBuddies.size === 0;
    const sendCommit =
      isReadyBuddy && link?.isUp === true ? (commit: Commit) => link.send(commit) : undefined;
    return freezeProtected(owned, frozen, tcp, sendCommit);
  }

  /** The move came to nothing: the session is to be served in place again. undefined if it is not protected. */
  unfreeze(session: Session, socket: Socket): void {
    const owned = this.#host.sessionOf(session.id);
    // The freeze failed before it was known how far the kernel's queue goes: what Node had buffered is to be written again.
    if (owned?.isHeld === false) owned.hold(readWrittenEnd(fdOf(socket)));
    session.attach(
      owned === undefined
        ? this.#host.plainCarrier(session, socket)
        : new ProtectedCarrier(socket, session.carrierEvents, owned),
    );
    if (owned === undefined) return;
    owned.serve();
    this.#host.noteBuddy(owned);
  }

  /** The same for one of which only a descriptor was left. */
  unfreezeTail(session: Session): void {
    const owned = this.#host.sessionOf(session.id);
    if (owned === undefined) return;
    owned.serve();
    this.#host.noteBuddy(owned);
  }

  /** Another endpoint serves it now: what still comes here draws no answer. */
  movedAway(session: Session): void {
    this.#host.guard().movedAway(session.flow, session.epoch);
  }

  /** The replica an image stands on, once it is here: `done` runs now, later, or never. The returned function gives up. */
  awaitReplica(owner: string, id: string, base: ReplicaBase, done: (replica: Replica) => void): () => void {
    const key = `${owner}/${id}`;
    const giveUp = (): void => {
      if (this.#awaited.get(key) === look) this.#awaited.delete(key);
    };
    const look = (): void => {
      if (this.#host.store.newestOf(owner, id, base.epoch) < base.n) return;
      // Before anything else: whatever comes of it, it is done once.
      giveUp();
      const replica = this.#host.store.peek(owner, id, base.epoch);
      if (replica !== undefined) done(replica);
    };
    this.#awaited.set(key, look);
    look();
    return giveUp;
  }

  /** A session from a planned move gets its buddy; `done` runs once that has it, or there can be none. */
  arrive(
    session: Session,
    settings: ProtectionSettings,
    from: Continuation,
    done: () => void,
  ): ArrivedSession {
    const owned = this.#host.own(session, settings, from);
    owned.isHeld = true;
    owned.onProtected = done;
    this.#host.adopt(owned);
    return { owned, session };
  }

  /** The record names this endpoint: from now on its packets may leave. Before the socket leaves repair. */
  guardArrived({ owned, session }: ArrivedSession, tcp: TcpImage, source: string): void {
    // If this is the former buddy: commits of the former epoch may still be under way.
    this.#host.store.endEpoch(source, session.id, session.epoch - 1);
    const unsentBytes = tcp.sendQueue.length - tcp.sentBytes;
    this.#host.guard().register(session.flow, {
      session: session.id,
      epoch: session.epoch,
      level: 'commit',
      lease: this.#host.lease(),
      committed: owned.ackableSeq,
      sentEnd: addSeq(tcp.writeSeq, (tcp.finSent ? 1 : 0) - unsentBytes),
      finSeq: owned.finSeq,
      windowScale: tcp.rcvWscale,
    });
  }

  /** Serves what `guardArrived` was called for. */
  serveArrived({ owned, session }: ArrivedSession, socket: Socket, unsent: Uint8Array): void {
    this.#host.watchUrgent(fdOf(socket));
    session.attach(new ProtectedCarrier(socket, session.carrierEvents, owned));
    // Committed by the source, and taken by its kernel: it goes before all that waits here.
    if (unsent.length > 0) socket.write(unsent);
    owned.serve();
    this.#host.noteBuddy(owned);
  }

  /** A commit of that owner's session has come in. */
  committed(owner: string, id: string): void {
    this.#awaited.get(`${owner}/${id}`)?.();
  }
}

function fdOf(socket: Socket): number {
  return getSocketHandle(socket)?.fd ?? -1;
}
