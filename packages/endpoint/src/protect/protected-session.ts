/**
 * One session at level `commit`, between its application and its socket.
 *
 * Output waits here until the buddy has the state that goes with it, and input is acknowledged to the client only then.
 * The Writable is told "written" as soon as its bytes are here (while there is room): a safe point needs everything the
 * application has written to be in the same commit as the state that it belongs to.
 */
import { addSeq, type Clock, diffSeq, type Flow, type RestitchError, toRestitchError } from '@restitch/core';
import { type PlainData } from '@restitch/wire';
import {
  ackableSeq,
  createOwnerSession,
  finishes,
  finSeqOf,
  type GuardControl,
  type OwnerSession,
} from '@restitch/guard/internal';
import { type Commit, type TcpTemplate } from '@restitch/wire/internal';
import { getTcpInfo, isFinWaiting, tcpState, unacknowledgedBytes } from '@restitch/sys/internal';
import type { ProtectionSettings } from '@restitch/guard';
import type { ClosingKind, ClosingParty } from '../session/session-init.js';
import type { Session } from '../session/session.js';
import { UrgentAccount } from '../tcp/index.js';
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
  /** The application is through with it: whoever goes on delivers the rest, and calls nobody. */
  readonly closing?: ClosingKind;
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
  /** Urgent bytes up to the end of `input`. */
  readonly skipped?: number;
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
  /** The client has acknowledged more, and nothing else happened. */
  readonly onAcked: (session: ProtectedSession) => void;
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

/** The buddy of a tail that only gets shorter is told after so much: it costs a message, and saves memory there. */
const ackedStepBytes = 64 * 1024;

/** What Node reads at once; a shorter piece has emptied the kernel's queue. */
const wholePieceBytes = 64 * 1024;

/** One protected session of this endpoint. */
export class ProtectedSession extends BuddyPlace implements ReplicatedSession, ClosingParty {
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
  readonly finisher = finishes('commit');
  readonly #urgent = new UrgentAccount();
  readonly #skippedBefore: number;
  #ackedToldBytes: number;

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
      skipped: from?.skipped,
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
    this.#skippedBefore = from?.skipped ?? 0;
    this.#ackedToldBytes = start.output;
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
    this.#urgent.noteRead(chunk.length);
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

  /** No token is held, and everything the application has written is here; or it is through. */
  get isSafe(): boolean {
    const { session } = this;
    if (session.isThrough) return true;
    return session.busyReason === undefined && session.bytesWritten === this.#produced && !session.destroyed;
  }

  /** The commit that lets the buddy forget what the client has; undefined if that is nothing new. */
  makeAckedCommit(): Commit | undefined {
    return this.#isOver ? undefined : this.owner.commitAcked();
  }

  /** The commit for what happened in this turn; undefined if nothing did. */
  makeCommit(): Commit | undefined {
    if (this.#isOver) return undefined;
    this.#noteClientAcks();
    this.#noteSkipped();
    this.#committedAtMs = this.#init.clock.monotonicMs();
    this.#offeredOutput = this.#produced;
    const { session, isSafe } = this;
    const { isThrough, closing } = session;
    const state: SafeState = {
      app: session.state,
      outputEnded: this.#isEnding && closing !== 'reset',
      inputEnded: isThrough || session.readableEnded,
      ...(isThrough && closing !== undefined ? { closing } : {}),
    };
    const isSnapshot = isSafe && (!this.settings.replay || this.isAsked || isThrough);
    this.isAsked = false;
    const consumed = isThrough ? this.owner.inputEnd : session.bytesRead;
    const commit = this.owner.commit(isSnapshot ? { consumed, state } : undefined);
    if (commit !== undefined) {
      this.#cost.made({ n: commit.n, allBytes: this.owner.replicatedBytes }, this.#committedAtMs);
    }
    if (this.settings.replay) this.#askForSnapshot(isSnapshot);
    // A replay ends where the input and the state before it say: its end needs no commit of its own. Where there was nothing
    // to commit, the last commit said so already.
    if (this.#isEnding && isSafe) {
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
    const { ackableEnd: inputEnd, ackableSkipped: skipped, isFinAckable: fin } = this.owner;
    return ackableSeq({ clientStart: this.#init.template.clientStart, inputEnd, skipped, fin });
  }

  /** Where our FIN may stand; undefined while the application has not ended its output. */
  get finSeq(): number | undefined {
    return this.#isEnding && this.session.closing !== 'reset'
      ? finSeqOf(this.#init.template.serverStart, this.#produced)
      : undefined;
  }

  /** Output of the application so far, wherever it is. */
  get producedEnd(): number {
    return this.#produced;
  }

  /** Urgent bytes that were left out of the stream, if what was read of it ends at this sequence number. */
  skippedAt(readSeq: number): number {
    return Math.max(0, diffSeq(readSeq, addSeq(this.#init.template.clientStart, this.owner.inputEnd)));
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

  /** Its connection is over, or served elsewhere. */
  over(): void {
    this.#isOver = true;
    this.#cancelReplay();
    for (const done of this.#waiting.splice(0)) done();
  }

  /** The application is through: what there is left to be done is committed, and needs no application. */
  through(): void {
    this.#cancelReplay();
    this.#init.onDirty(this);
  }

  /** A tail gets shorter, and nothing else happens: the buddy hears of it now and then, so that it can forget. */
  looked(at: { readonly finReceived: boolean; readonly unreadBytes: number }): void {
    if (at.finReceived && at.unreadBytes === 0) this.#noteFin();
    this.#noteClientAcks();
    if (this.owner.clientAckedEnd - this.#ackedToldBytes < ackedStepBytes) return;
    this.#ackedToldBytes = this.owner.clientAckedEnd;
    this.#init.onAcked(this);
  }

  /** The socket is over without an error, so the client's FIN was in: it is acknowledged once it is committed. */
  get isSettled(): boolean {
    if (this.isHeld) return false;
    this.#noteFin();
    // Where a session goes on without a buddy, its commit takes effect at once; but it has to be made before all is over.
    if (!this.owner.isFinAckable && this.buddy === undefined && this.settings.degraded === 'unprotected')
      this.session.commitNow?.();
    return this.owner.isFinAckable;
  }

  /** A reset is about to leave: nothing is promised any more. */
  allowReset(): void {
    this.#isOver = true;
    this.#init.guard.allowReset(this.flow, this.session.epoch);
  }

  /** Nobody reads any more, so Node does not tell of it. */
  #noteFin(): void {
    if (!this.session.isThrough || this.owner.hasFin) return;
    this.owner.receivedFin();
    this.#hasFin = true;
    this.#init.onDirty(this);
  }

  /** Only where all that was read from the kernel is in the input: a byte counted too early would be acknowledged too early. */
  #noteSkipped(): void {
    const { fd } = this.session;
    if (
      fd < 0 ||
      this.isHeld ||
      (this.carrier?.isAttached === true && this.carrier.socket.readableLength > 0)
    )
      return;
    this.owner.skippedTo(this.#skippedBefore + this.#urgent.look(fd));
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
      const { flow, finSeq } = this;
      if (finSeq !== undefined) this.#init.guard.end(flow, this.session.epoch, finSeq);
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
    if (fd < 0) return;
    const isEndAsked = this.#isEnding && this.#onEnded === undefined;
    const unacked = isEndAsked ? unacknowledgedData(fd) : unacknowledgedBytes(fd);
    if (unacked === undefined) return;
    const socketWaits = this.carrier?.isAttached === true ? this.carrier.socket.writableLength : 0;
    this.owner.clientAcked(this.#written - socketWaits - unacked);
  }
}

/** Our FIN not counted; undefined where the kernel does not say any more how far the client is. */
function unacknowledgedData(fd: number): number | undefined {
  const { state } = getTcpInfo(fd);
  if (state === tcpState.close) return undefined;
  return unacknowledgedBytes(fd) - (isFinWaiting(state) ? 1 : 0);
}

function atOf(from: ContinuedFrom): { readonly outputAt?: number } {
  return from.outputAt === undefined ? {} : { outputAt: from.outputAt };
}
