/**
 * One session at level `commit`, between its application and its socket.
 *
 * Output waits here until the buddy has the state that goes with it, and input is acknowledged to the client only then.
 * The Writable is told "written" as soon as its bytes are here (while there is room): a safe point needs everything the
 * application has written to be in the same commit as the state that it belongs to.
 */
import {
  addSeq,
  type Clock,
  diffSeq,
  type Flow,
  type PlainData,
  type RestitchError,
  toRestitchError,
} from '@restitch/core';
import {
  type Commit,
  createOwnerSession,
  type GuardControl,
  type OwnerSession,
} from '@restitch/guard/internal';
import { unacknowledgedBytes } from '@restitch/sys/internal';
import type { ProtectionSettings } from '@restitch/guard';
import type { Session } from '../session/session.js';
import type { TcpTemplate } from '../tcp/index.js';
import { type EndpointCost, type ReplicationCost, SessionCost } from './commit-cost.js';
import type { ProtectedCarrier } from './protected-carrier.js';
import { Replay } from './replay.js';
import { BuddyPlace, type ReplicatedSession } from './replicated-session.js';

/** An application that has not made its promised output again by then waits for something that will not come. */
const replayMs = 10_000;

/** What travels as the state of a safe point: the application's own, and what it has ended or seen the end of. */
export type SafeState = {
  readonly app: PlainData;
  readonly outputEnded: boolean;
  readonly inputEnded: boolean;
};

/** Where a session goes on that came from a replica. */
export interface ContinuedFrom {
  /** State of the replica: the application's own and what goes with it, as its dead owner committed it. */
  readonly state: PlainData;
  readonly consumed: number;
  readonly input: Uint8Array;
  readonly fin: boolean;
  readonly acked: number;
  readonly output: Uint8Array;
  /** Output at `state`; the end of `output` if left out. With `replay` the application makes the rest again. */
  readonly outputAt?: number;
  /** Output up to here was given to a socket already; all of it if left out. */
  readonly written?: number;
  /** The application has ended its output. */
  readonly outputEnded?: boolean;
}

/** What a protected session is made of. */
export interface ProtectedSessionInit {
  readonly session: Session;
  readonly settings: ProtectionSettings;
  readonly template: TcpTemplate;
  /** Everything a buddy needs beside positions and state, encoded. */
  readonly opening: Uint8Array;
  readonly guard: GuardControl;
  readonly continued?: ContinuedFrom;
  /** The application made other output than before: nothing of it may be heard. */
  readonly onContradicted: (session: ProtectedSession, error: RestitchError) => void;
  /** Something changed: commit in this turn. */
  readonly onDirty: (session: ProtectedSession) => void;
  readonly clock: Clock;
  readonly cost: EndpointCost;
}

/**
 * Commits of one session on their way to the buddy. With two the buddy always has the next one; what comes meanwhile
 * goes together, so that a busy session makes fewer and larger commits instead of more than the two can do.
 */
const maxCommitsInFlight = 2;

/**
 * Input without an answer waits for more of it while more is there to be read, up to this much or so long. A client has
 * a megabyte under way at most (measured with BBR, whose window follows the round trip): beyond a quarter of it the
 * client would stand still for the acknowledgement.
 */
const inputWaitBytes = 256 * 1024;
const inputWaitMs = 1;

/** What Node reads at once; a shorter piece has emptied the kernel's queue. */
const wholePieceBytes = 64 * 1024;

/** One protected session of this endpoint. */
export class ProtectedSession extends BuddyPlace implements ReplicatedSession {
  readonly session: Session;
  readonly settings: ProtectionSettings;
  readonly owner: OwnerSession;
  /** Called once its replica is where it belongs, or it is known that there will be none. */
  onProtected: (() => void) | undefined;
  carrier: ProtectedCarrier | undefined;
  readonly #init: ProtectedSessionInit;
  readonly #cost: SessionCost;
  #written: number;
  #produced: number;
  #isEnding = false;
  #endCommit: number | undefined;
  #onEnded: (() => void) | undefined;
  #isOver = false;
  #committedAtMs = 0;
  #offeredOutput: number;
  #hasFin = false;
  #isMoreThere = false;
  readonly #waiting: Array<() => void> = [];
  /** While the application is run again over input it has had. */
  #replay: Replay | undefined;
  #cancelReplay: () => void = () => undefined;
  #isSnapshotAsked = false;

  constructor(init: ProtectedSessionInit) {
    super();
    this.#init = init;
    this.#cost = new SessionCost(init.cost);
    init.session.replicationCost = () => this.cost;
    this.session = init.session;
    this.settings = init.settings;
    const from = init.continued;
    const start = {
      input: from?.consumed ?? 0,
      output: from?.acked ?? 0,
      ...(from === undefined ? {} : { state: from.state, promised: from.output, ...atOf(from) }),
    };
    const { id, epoch } = init.session;
    this.owner = createOwnerSession({ id, epoch, opening: init.opening, settings: init.settings, start });
    if (from !== undefined) {
      this.owner.received(from.input);
      if (from.fin) this.owner.receivedFin();
    }
    this.#produced = start.output + (from?.output.length ?? 0);
    this.#written = from?.written ?? this.#produced;
    this.#isEnding = from?.outputEnded ?? false;
    this.#offeredOutput = this.#produced;
    if (from?.outputAt !== undefined && from.outputAt < this.#produced)
      this.#startReplay(from, from.outputAt);
  }

  /** Room for more input in a log that only the application can shorten. */
  get hasInputRoom(): boolean {
    return !this.settings.replay || this.owner.roomBytes > 0;
  }

  get flow(): Flow {
    return this.session.flow;
  }

  /** What a buddy is told once an epoch. */
  get opening(): Uint8Array {
    return this.#init.opening;
  }

  get cost(): ReplicationCost {
    const { replicatedBytes, keptBytes, committedN: commits } = this.owner;
    return { buddy: this.buddy ?? null, commits, replicatedBytes, keptBytes, ...this.#cost.delays };
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  received(chunk: Uint8Array): void {
    this.owner.received(chunk);
    this.#isMoreThere = chunk.length >= wholePieceBytes;
    this.#init.onDirty(this);
  }

  receivedFin(): void {
    this.owner.receivedFin();
    this.#hasFin = true;
    this.#init.onDirty(this);
  }

  override get waitsFor(): 'acknowledgement' | 'time' | undefined {
    const { owner } = this;
    // Without a buddy nobody's acknowledgement will come.
    if (owner.n === 0 || this.buddy === undefined) return undefined;
    if (owner.inFlight >= maxCommitsInFlight) return 'acknowledgement';
    const isUrgent =
      this.#isEnding || this.#hasFin || !this.#isMoreThere || this.#produced > this.#offeredOutput;
    if (isUrgent || this.#init.clock.monotonicMs() - this.#committedAtMs >= inputWaitMs) return undefined;
    return owner.freshInputBytes < inputWaitBytes ? 'time' : undefined;
  }

  /** Output of the application; `done` runs at once unless the bound is reached. */
  produce(batch: readonly Uint8Array[], done: () => void): void {
    for (const chunk of batch) {
      const fresh = this.#replay === undefined ? chunk : this.#again(chunk);
      this.owner.produced(fresh);
      this.#produced += fresh.length;
    }
    this.#cost.produced(this.#init.clock.monotonicMs());
    this.#init.onDirty(this);
    if (this.owner.roomBytes > 0) done();
    else this.#waiting.push(done);
  }

  /** The application ends its output: the FIN leaves when the end itself is committed. */
  end(done: () => void): void {
    const isMissing =
      this.#replay !== undefined && !this.#attempt(() => this.#replay?.assertDone('it ended'));
    if (isMissing) return;
    this.#isEnding = true;
    this.#onEnded = done;
    this.#init.onDirty(this);
  }

  /** No token is held, and everything the application has written is here. */
  get isSafe(): boolean {
    const { session } = this;
    return session.busyReason === undefined && session.bytesWritten === this.#produced && !session.destroyed;
  }

  /** The commit for what happened in this turn; undefined if nothing did. */
  makeCommit(): Commit | undefined {
    if (this.#isOver) return undefined;
    this.#noteClientAcks();
    this.#committedAtMs = this.#init.clock.monotonicMs();
    this.#offeredOutput = this.#produced;
    const { session, isSafe } = this;
    const state: SafeState = {
      app: session.state,
      outputEnded: this.#isEnding,
      inputEnded: session.readableEnded,
    };
    const isSnapshot = isSafe && (!this.settings.replay || this.isAsked);
    this.isAsked = false;
    const commit = this.owner.commit(isSnapshot ? { consumed: session.bytesRead, state } : undefined);
    if (commit !== undefined) {
      this.#cost.made({ n: commit.n, allBytes: this.owner.replicatedBytes }, this.#committedAtMs);
    }
    if (this.settings.replay) this.#askForSnapshot(isSnapshot);
    // A replay ends where the input and the state before it say: its end needs no commit of its own.
    if (this.#isEnding && isSafe && (commit !== undefined || this.settings.replay)) {
      this.#endCommit ??= this.owner.n;
      if (this.owner.committedN >= this.#endCommit) this.#write();
    }
    return commit;
  }

  /** The buddy has everything up to commit `n`: open the gate, write what was waiting. */
  committed(n: number): void {
    if (this.#isOver) return;
    const before = this.owner.committedN;
    this.owner.committed(n);
    if (this.owner.committedN > before)
      this.#cost.acknowledged(this.owner.committedN, this.#init.clock.monotonicMs());
    const protectedNow = this.onProtected;
    this.onProtected = undefined;
    protectedNow?.();
    if (this.owner.committedN === before || this.isHeld) return;
    this.#release();
  }

  /** Sequence number up to which the client's bytes, and its FIN, are committed. */
  get ackableSeq(): number {
    const fin = this.owner.isFinAckable ? 1 : 0;
    return addSeq(this.#init.template.clientStart, this.owner.ackableEnd + fin);
  }

  /** The gate rises and what waited is written. */
  #release(): void {
    this.#init.guard.commit(this.flow, this.session.epoch, this.ackableSeq);
    this.#write();
    this.session.noteCommitted(this.owner.committedN);
    this.#wake();
  }

  /**
   * Frozen: neither gate nor socket hear of commits until `serve`. `writeSeq` is the kernel's own word on how far its
   * queue goes; what Node had not given it yet is to be written again. Returns that offset.
   */
  hold(writeSeq: number): number {
    this.isHeld = true;
    const known = addSeq(this.#init.template.serverStart, this.#written);
    this.#written += Math.min(0, diffSeq(writeSeq, known));
    return this.#written;
  }

  /** It is served again, or for the first time: everything committed meanwhile takes effect. */
  serve(): void {
    this.isHeld = false;
    this.#release();
    this.#init.onDirty(this);
  }

  /** From here on nothing is promised: the connection is being closed on purpose. */
  closing(): void {
    this.#isOver = true;
    this.#cancelReplay();
    this.#init.guard.closing(this.flow, this.session.epoch);
    for (const done of this.#waiting.splice(0)) done();
  }

  #startReplay(from: ContinuedFrom, outputAt: number): void {
    this.#replay = new Replay({
      from: outputAt,
      end: this.#produced,
      kept: from.output,
      keptFrom: from.acked,
    });
    this.#cancelReplay = this.#init.clock.after(replayMs, () => {
      this.#attempt(() =>
        this.#replay?.assertDone(`the application has made no more within ${replayMs} ms,`),
      );
    });
  }

  /** Output that was promised already goes nowhere; returns what is new. */
  #again(chunk: Uint8Array): Uint8Array {
    let fresh: Uint8Array = new Uint8Array();
    this.#attempt(() => {
      fresh = this.#replay?.take(chunk) ?? chunk;
    });
    if (this.#replay?.isDone === true) {
      this.#replay = undefined;
      this.#cancelReplay();
    }
    return fresh;
  }

  /** False if the replay has contradicted itself: the session ends then. */
  #attempt(step: () => void): boolean {
    // A move that came to nothing destroys what had arrived: nobody runs that application.
    if (this.#isOver || this.session.destroyed) return false;
    try {
      step();
      return true;
    } catch (error) {
      this.#init.onContradicted(this, toRestitchError(error));
      return false;
    }
  }

  /** Only the application knows when its state says everything; a snapshot lets input in again. */
  #askForSnapshot(isMade: boolean): void {
    if (isMade) {
      this.#isSnapshotAsked = false;
      if (this.hasInputRoom) this.carrier?.resume();
    }
    if (this.#isSnapshotAsked || !this.owner.isSnapshotDue || this.owner.n === 0) return;
    this.#isSnapshotAsked = true;
    // Its answer may be a commit of its own, which must not come before the one that is just being made.
    queueMicrotask(() => !this.#isOver && this.session.emit('snapshot-due'));
  }

  #write(): void {
    const end = this.owner.sendableEnd;
    if (end > this.#written) {
      const bytes = this.owner.takeSendable(this.#written);
      this.#written = end;
      this.carrier?.writeCommitted(bytes);
    }
    const isEndCommitted = this.#endCommit !== undefined && this.owner.committedN >= this.#endCommit;
    if (isEndCommitted && this.#written === this.#produced && this.#onEnded !== undefined) {
      const done = this.#onEnded;
      this.#onEnded = undefined;
      this.#init.guard.closing(this.flow, this.session.epoch);
      this.carrier?.endCommitted(done);
    }
  }

  #wake(): void {
    if (this.#waiting.length === 0) return;
    this.#noteClientAcks();
    while (this.#waiting.length > 0 && this.owner.roomBytes > 0) this.#waiting.shift()?.();
    // The client's acknowledgements come without an event: look again while the application waits for them.
    if (this.#waiting.length > 0) setTimeout(() => this.#wake(), 5).unref();
  }

  #noteClientAcks(): void {
    if (this.owner.clientAckedEnd === this.#written) return;
    const fd = this.session.fd;
    const socketWaits = this.carrier?.socket.writableLength ?? 0;
    if (fd < 0 || (this.#onEnded === undefined && this.#isEnding)) return;
    this.owner.clientAcked(this.#written - socketWaits - unacknowledgedBytes(fd));
  }
}

function atOf(from: ContinuedFrom): { readonly outputAt?: number } {
  return from.outputAt === undefined ? {} : { outputAt: from.outputAt };
}
