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
import {
  type Checkpointer,
  type Commit,
  createCheckpointer,
  type GuardControl,
} from '@restitch/guard/internal';
import { unacknowledgedBytes } from '@restitch/sys/internal';
import type { Session } from '../session/session.js';
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
  readonly continued?: { readonly acked: number; readonly output: Uint8Array; readonly fin: boolean };
  readonly onDirty: (session: PeriodicSession) => void;
}

/** Output that was written is forgotten once acknowledged; asking the kernel is cheap, but not for each write. */
const askAfterBytes = 256 * 1024;

/** One session with checkpoints. */
export class PeriodicSession extends BuddyPlace implements ReplicatedSession {
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
      onReceived: () => this.#init.onDirty(this),
      onReceivedFin: () => {
        this.#fin = true;
        this.#init.onDirty(this);
      },
      onWritten: (batch) => this.#written(batch),
      onClosing: () => this.closing(),
    });
    return this.#carrier;
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
    const commit = owner.checkpoint({ consumed, unread, fin: this.#fin, state });
    if (commit !== undefined) this.#lastMs = nowMs;
    return commit;
  }

  committed(n: number): void {
    if (this.#isOver || n <= this.#committedN || n > this.owner.n) return;
    this.#committedN = n;
    this.session.noteCommitted(n);
  }

  /** From here on the connection ends on purpose. */
  closing(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancel();
    this.#init.guard.closing(this.flow, this.session.epoch);
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
