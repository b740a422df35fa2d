/**
 * One session at level `periodic`: bytes go their ordinary way, and a checkpoint is made now and then.
 *
 * When: at the first change after a quiet interval at once, then once an interval, and whenever the application marks a
 * safe point (it gives back its last busy token, or calls `commit()`). So a quiet session's checkpoint is its newest
 * state, and a busy one costs a message an interval.
 */
import type { Socket } from 'node:net';
import type { Clock, Flow } from '@restitch/core';
import type { ProtectionSettings } from '@restitch/guard';
import { type Checkpointer, createCheckpointer, finishes, type GuardControl } from '@restitch/guard/internal';
import { type Commit } from '@restitch/wire/internal';
import { unacknowledgedBytes } from '@restitch/sys/internal';
import type { ClosingParty } from '../session/session-init.js';
import type { Session } from '../session/session.js';
import { UrgentAccount } from '../tcp/index.js';
import { GuardedCarrier } from './guarded-carrier.js';
import type { SafeState } from './protected-session.js';
import { BuddyPlace, type ReplicatedSession } from './replicated-session.js';

/** What a periodic session is made of. */
export interface PeriodicSessionInit {
  readonly session: Session;
  readonly settings: ProtectionSettings;
  readonly opening: Uint8Array;
  readonly guard: GuardControl;
  readonly clock: Clock;
  /** Of a session that was taken over: output the client may lack. */
  readonly continued?: {
    readonly acked: number;
    readonly output: Uint8Array;
    readonly fin: boolean;
    readonly skipped?: number | undefined;
  };
  readonly onDirty: (session: PeriodicSession) => void;
  /** Its application has ended it: nobody is to go on with it any more. */
  readonly onEnded: (session: PeriodicSession, then: () => void) => void;
}

/** Output that was written is forgotten once acknowledged; asking the kernel is cheap, but not for each write. */
const askAfterBytes = 256 * 1024;

/** One session with checkpoints. */
export class PeriodicSession extends BuddyPlace implements ReplicatedSession, ClosingParty {
  readonly session: Session;
  readonly settings: ProtectionSettings;
  readonly owner: Checkpointer;
  #carrier: GuardedCarrier | undefined;
  readonly #init: PeriodicSessionInit;
  #fin: boolean;
  #committedN = 0;
  #isOver = false;
  #lastMs = Number.NEGATIVE_INFINITY;
  /** Until a checkpoint was looked for at a safe point. */
  #isIntervalOver = true;
  #cancel: () => void = () => undefined;
  #askAtBytes = askAfterBytes;
  readonly #urgent = new UrgentAccount();
  readonly finisher = finishes('periodic');
  readonly isSettled = true;

  constructor(init: PeriodicSessionInit) {
    super();
    this.#init = init;
    this.session = init.session;
    this.settings = init.settings;
    const { continued, opening } = init;
    const { id, epoch } = init.session;
    this.owner = createCheckpointer({ id, epoch, opening, outputStart: continued?.acked ?? 0 });
    if (continued !== undefined) this.owner.produced(continued.output);
    this.#fin = continued?.fin ?? false;
    init.session.once('close', () => this.#cancel());
    this.#tick();
  }

  get flow(): Flow {
    return this.session.flow;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** The session's carrier, at first and after a move that came to nothing. */
  carrierOf(socket: Socket): GuardedCarrier {
    this.#carrier = new GuardedCarrier(socket, this.session.carrierEvents, {
      onReceived: (chunk) => {
        this.#urgent.noteRead(chunk.length);
        this.#init.onDirty(this);
      },
      onReceivedFin: () => {
        this.#fin = true;
        this.#init.onDirty(this);
      },
      onWritten: (batch) => this.#written(batch),
      onEnded: (then) => this.#ended(then),
      onEnding: (finSeq) => void this.#init.guard.end(this.flow, this.session.epoch, finSeq),
      onReset: () => this.allowReset(),
    });
    return this.#carrier;
  }

  through(): void {}

  looked(): void {}

  allowReset(): void {
    this.#init.guard.allowReset(this.flow, this.session.epoch);
  }

  /** A safe point that the application marks. */
  override wentIdle(): void {
    this.isAsked = true;
  }

  makeCommit(): Commit | undefined {
    const { session, owner } = this;
    const nowMs = this.#init.clock.monotonicMs();
    const isQuiet = nowMs - this.#lastMs >= this.settings.intervalMs;
    const isDue = this.isAsked || this.#isIntervalOver || isQuiet;
    const isSafe =
      session.busyReason === undefined && session.bytesWritten === owner.producedEnd && !session.destroyed;
    if (this.#isOver || !isDue || !isSafe) return undefined;
    this.isAsked = false;
    this.#isIntervalOver = false;
    this.#noteClientAcks();
    const state: SafeState = { app: session.state, outputEnded: false, inputEnded: session.readableEnded };
    const { bytesRead: consumed, unread } = session;
    const skipped = this.#skippedBytes();
    if (skipped === undefined) return undefined;
    const commit = owner.checkpoint({ consumed, unread, fin: this.#fin, state, skipped });
    if (commit !== undefined) this.#lastMs = nowMs;
    return commit;
  }

  committed(n: number): void {
    if (this.#isOver || n <= this.#committedN || n > this.owner.n) return;
    this.#committedN = n;
    this.session.noteCommitted(n);
  }

  /** Its connection is over, or served elsewhere. */
  over(): void {
    this.#isOver = true;
    this.#cancel();
  }

  /** The kernel finishes what the application has ended: a copy elsewhere would contradict it. Before the FIN leaves. */
  #ended(then: () => void): void {
    if (this.#isOver) return then();
    this.over();
    this.#init.onEnded(this, then);
  }

  /** Urgent bytes so far; undefined while the socket's stream has them in a part that nobody has been given. */
  #skippedBytes(): number | undefined {
    const { fd } = this.session;
    if (fd < 0) return undefined;
    const before = this.#init.continued?.skipped ?? 0;
    return (this.#carrier?.socket.readableLength ?? 0) > 0 ? undefined : before + this.#urgent.look(fd);
  }

  /** A state that was changed in place makes no event: look once an interval. */
  #tick(): void {
    this.#cancel = this.#init.clock.after(this.settings.intervalMs, () => {
      if (this.#isOver || this.session.destroyed) return;
      this.#isIntervalOver = true;
      this.#init.onDirty(this);
      this.#tick();
    });
  }

  #written(batch: readonly Uint8Array[]): void {
    // Before these bytes count: the socket does not know of them yet.
    if (this.owner.keptBytes > this.#askAtBytes) {
      this.#noteClientAcks();
      this.#askAtBytes = this.owner.keptBytes + askAfterBytes;
    }
    for (const chunk of batch) this.owner.produced(chunk);
    this.#init.onDirty(this);
  }

  #noteClientAcks(): void {
    const { fd } = this.session;
    if (fd < 0) return;
    const socketWaits = this.#carrier?.socket.writableLength ?? 0;
    this.owner.clientAcked(this.owner.producedEnd - socketWaits - unacknowledgedBytes(fd));
  }
}
