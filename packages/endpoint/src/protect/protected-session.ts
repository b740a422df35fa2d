/**
 * One session at level `commit`, between its application and its socket.
 *
 * Output waits here until the buddy has the state that goes with it, and input is acknowledged to the client only then.
 * The Writable is told "written" as soon as its bytes are here (while there is room): a safe point needs everything the
 * application has written to be in the same commit as the state that it belongs to.
 */
import type { Flow, PlainData } from '@restitch/core';
import { addSeq } from '@restitch/core';
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
import type { ProtectedCarrier } from './protected-carrier.js';

/** What travels as the state of a safe point: the application's own, and what it has ended or seen the end of. */
export type SafeState = {
  readonly app: PlainData;
  readonly outputEnded: boolean;
  readonly inputEnded: boolean;
};

/** Where a session goes on that came from a replica. */
export interface ContinuedFrom {
  readonly consumed: number;
  readonly input: Uint8Array;
  readonly fin: boolean;
  readonly acked: number;
  readonly output: Uint8Array;
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
  /** Something changed: commit in this turn. */
  readonly onDirty: (session: ProtectedSession) => void;
}

/** One protected session of this endpoint. */
export class ProtectedSession {
  readonly session: Session;
  readonly settings: ProtectionSettings;
  readonly owner: OwnerSession;
  /** Name of the endpoint that keeps the replica; undefined while nobody does. */
  buddy: string | undefined;
  /** Those that still have an older replica. */
  readonly formerBuddies = new Set<string>();
  /** Those of them that were told to forget it. */
  readonly forgetting = new Set<string>();
  /** Newest commit the buddy has. */
  storedN = 0;
  /** Since when it waits for the replica at its next buddy; undefined if it does not. */
  bereavedSinceMs: number | undefined;
  carrier: ProtectedCarrier | undefined;
  readonly #init: ProtectedSessionInit;
  #written: number;
  #produced: number;
  #isEnding = false;
  #endCommit: number | undefined;
  #onEnded: (() => void) | undefined;
  #isOver = false;
  readonly #waiting: Array<() => void> = [];

  constructor(init: ProtectedSessionInit) {
    this.#init = init;
    this.session = init.session;
    this.settings = init.settings;
    const from = init.continued;
    const start = { input: from?.consumed ?? 0, output: from?.acked ?? 0 };
    const { id, epoch } = init.session;
    this.owner = createOwnerSession({ id, epoch, opening: init.opening, settings: init.settings, start });
    if (from !== undefined) {
      this.owner.received(from.input);
      if (from.fin) this.owner.receivedFin();
      this.owner.produced(from.output);
    }
    this.#produced = start.output + (from?.output.length ?? 0);
    this.#written = this.#produced;
  }

  get flow(): Flow {
    return this.session.flow;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  received(chunk: Uint8Array): void {
    this.owner.received(chunk);
    this.#init.onDirty(this);
  }

  receivedFin(): void {
    this.owner.receivedFin();
    this.#init.onDirty(this);
  }

  /** Output of the application; `done` runs at once unless the bound is reached. */
  produce(batch: readonly Uint8Array[], done: () => void): void {
    for (const chunk of batch) {
      this.owner.produced(chunk);
      this.#produced += chunk.length;
    }
    this.#init.onDirty(this);
    if (this.owner.roomBytes > 0) done();
    else this.#waiting.push(done);
  }

  /** The application ends its output: the FIN leaves when the end itself is committed. */
  end(done: () => void): void {
    this.#isEnding = true;
    this.#onEnded = done;
    this.#init.onDirty(this);
  }

  /** The commit for what happened in this turn; undefined if nothing did. */
  makeCommit(): Commit | undefined {
    if (this.#isOver) return undefined;
    this.#noteClientAcks();
    const { session } = this;
    const isSafe =
      session.busyReason === undefined && session.bytesWritten === this.#produced && !session.destroyed;
    const state: SafeState = {
      app: session.state,
      outputEnded: this.#isEnding,
      inputEnded: session.readableEnded,
    };
    const commit = this.owner.commit(isSafe ? { consumed: session.bytesRead, state } : undefined);
    if (commit !== undefined && this.#isEnding && isSafe) this.#endCommit ??= commit.n;
    return commit;
  }

  /** The buddy has everything up to commit `n`: open the gate, write what was waiting. */
  committed(n: number): void {
    if (this.#isOver) return;
    const before = this.owner.committedN;
    this.owner.committed(n);
    if (this.owner.committedN === before) return;
    const { template, guard } = this.#init;
    const fin = this.owner.isFinAckable ? 1 : 0;
    guard.commit(this.flow, this.session.epoch, addSeq(template.clientStart, this.owner.ackableEnd + fin));
    this.#write();
    this.session.emit('committed', this.owner.committedN);
    this.#wake();
  }

  /** From here on nothing is promised: the connection is being closed on purpose. */
  closing(): void {
    this.#isOver = true;
    this.#init.guard.closing(this.flow, this.session.epoch);
    for (const done of this.#waiting.splice(0)) done();
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
    this.#noteClientAcks();
    while (this.#waiting.length > 0 && this.owner.roomBytes > 0) this.#waiting.shift()?.();
    // The client's acknowledgements come without an event: look again while the application waits for them.
    if (this.#waiting.length > 0) setTimeout(() => this.#wake(), 5).unref();
  }

  #noteClientAcks(): void {
    const fd = this.session.fd;
    const socketWaits = this.carrier?.socket.writableLength ?? 0;
    if (fd < 0 || (this.#onEnded === undefined && this.#isEnding)) return;
    this.owner.clientAcked(this.#written - socketWaits - unacknowledgedBytes(fd));
  }
}
