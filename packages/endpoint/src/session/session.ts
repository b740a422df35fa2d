/**
 * A session as the application sees it: a Duplex that looks like a net.Socket and survives a change of server.
 *
 * It wraps a net.Socket instead of extending it, because the connection under a session is taken away (freeze), given
 * back (revert), or given to a Session object in another process (thaw), and a net.Socket cannot let go of its handle.
 * The carrier decides when the session ends, so autoDestroy is off.
 */
import type { DuplexOptions } from 'node:stream';
import { type Flow, RestitchError } from '@restitch/core';
import { type PlainData } from '@restitch/wire';
import type { ReplicationCost } from '../protect/commit-cost.js';
import type { Carrier, CarrierEvents, CarryingSocket, WriteDone } from './carrier.js';
import { type OutputOrigin, OutputQueue } from './output-queue.js';
import { type FreezeHook, MoveGuards } from './move-guards.js';
import type { MigrateOptions, MigrateOutcome } from './self-moves.js';
import { assertPlainData } from './plain-data.js';
import { SessionEnd } from './session-end.js';
import type {
  ClosingKind,
  ClosingParty,
  FrozenSession,
  ResumeReason,
  SessionInit,
  SessionPhase,
  SessionWatcher,
} from './session-init.js';
import { SessionUsage } from './session-usage.js';
import { SocketLike } from './socket-like.js';
import type { TimerSettings } from '../tcp/index.js';
import { UnreadLedger, totalBytes } from './unread-ledger.js';

/** One client's connection, wherever it is served. */
export class Session extends SocketLike {
  /** The same on every endpoint that ever serves it. */
  readonly id: string;
  readonly flow: Flow;
  /** Name of the listener that accepted it. */
  readonly listener: string;
  /** True if it was moved here: the client is in the middle of its conversation. */
  readonly resumed: boolean;
  readonly resumeReason: ResumeReason | undefined;
  readonly openedAtMs: number;
  /** How many times it has been moved. */
  readonly moves: number;
  /**
   * Plain data of the application that travels with the session: null, booleans, finite numbers, strings, Uint8Array,
   * arrays, plain objects.
   */
  get state(): PlainData {
    return this.#state;
  }

  /** Throws `usage` for a value that cannot travel. A change inside the value is checked when a move begins. */
  set state(value: PlainData) {
    assertPlainData(value, 'session.state');
    this.#state = value;
  }

  /** On a session that was moved away: where to. Set before 'close'. */
  movedTo: string | undefined;

  /** Of a protected session that was taken over or moved: the number of the commit it goes on from. */
  readonly resumedFromCommit: number | undefined;
  /** @internal What commits this session now and returns the commit's number; set for protected sessions. */
  commitNow: (() => number) | undefined;
  /** @internal Set for sessions at level commit. */
  replicationCost: (() => ReplicationCost) | undefined;
  #commitBase = 0;
  #committedN = 0;
  #awaited: Array<{ readonly n: number; readonly done: () => void }> = [];

  /** @internal Ownership number; higher wins. */
  epoch: number;
  /** @internal What it used since it was last reported. */
  readonly usage = new SessionUsage();
  /** @internal What the application has said about moves. */
  readonly guards = new MoveGuards();
  /** @internal */
  watcher: SessionWatcher | undefined;
  /** @internal What the application set, while the kernel runs on what was left of it at the last move. */
  kernelTimers: TimerSettings | undefined;
  /** @internal Set for sessions that are guarded or replicated. */
  closingParty: ClosingParty | undefined;
  /** @internal What its client lacked at the last look, our FIN counted; undefined before its application has ended it. */
  tailBytes: number | undefined;

  #state: PlainData;
  readonly #end: SessionEnd;
  #carrier: Carrier | undefined;
  #isFreezing = false;
  readonly #output = new OutputQueue();
  readonly #ledger = new UnreadLedger();
  #undelivered: readonly Uint8Array[] = [];
  #bytesPushed: number;
  #bytesSubmitted: number;
  readonly #wasInputEnded: boolean;
  readonly #wasOutputEnded: boolean;
  #isInputDone: boolean;

  /** @internal */
  constructor(init: SessionInit) {
    const r = init.resumed;
    // node:stream takes `readable` and `writable`; @types/node does not know them.
    const options: DuplexOptions & { readable: boolean; writable: boolean } = {
      allowHalfOpen: init.allowHalfOpen,
      autoDestroy: false,
      readable: !(r?.inputEnded ?? false),
      writable: !(r?.outputEnded ?? false),
    };
    super(options);
    this.id = init.id;
    this.epoch = init.epoch;
    this.flow = init.flow;
    this.listener = init.listener;
    this.openedAtMs = init.openedAtMs;
    this.resumed = r !== undefined;
    this.resumeReason = r?.reason;
    this.resumedFromCommit = r?.commit;
    this.#commitBase = r?.commit ?? 0;
    this.#committedN = this.#commitBase;
    this.#state = r?.state ?? null;
    this.moves = r?.moves ?? 0;
    this.#bytesPushed = r?.bytesRead ?? 0;
    this.#bytesSubmitted = r?.bytesWritten ?? 0;
    this.#wasInputEnded = r?.inputEnded ?? false;
    this.#wasOutputEnded = r?.outputEnded ?? false;
    this.#isInputDone = this.#wasInputEnded;
    this.#end = new SessionEnd({
      flow: this.flow,
      carrier: () => this.#carrier,
      isInputDone: () => this.#isInputDone,
      party: () => this.closingParty,
      onClosing: () => this.watcher?.onClosing(this),
      onClosed: (reason) => this.watcher?.onClosed(this, reason),
    });
  }

  // ---- what net.Socket has, with SocketLike ----

  /** @internal */
  protected override get carryingSocket(): CarryingSocket | undefined {
    return this.#carrier?.socket;
  }

  /** Bytes the application has consumed since the session began, on all endpoints. */
  get bytesRead(): number {
    return this.#bytesPushed - this.readableLength;
  }

  /** Bytes the application has written since the session began, on all endpoints. */
  get bytesWritten(): number {
    return this.#bytesSubmitted + Math.max(0, this.writableLength - this.#output.streamBytes);
  }

  /** As net.Socket: ends the connection with RST. */
  resetAndDestroy(): this {
    this.#end.because('reset');
    this.#carrier?.reset();
    return this.destroy();
  }

  // ---- what moving adds ----

  /** `live`, `frozen` (in a move, may come back), `closing` (its client lacks something yet) or `closed`. */
  get phase(): SessionPhase {
    return this.#end.phase;
  }

  /** Delays a freeze until the returned function is called (once; more calls do nothing). */
  busy(): () => void {
    return this.guards.take();
  }

  /**
   * Says that `messages` requests of the client were answered: the access point forecasts load from their rate. Without
   * marks it takes answers (a write after a read), or pieces of payload. Throws `usage` for anything but a whole number ≥ 1.
   */
  mark(messages = 1): this {
    if (!Number.isSafeInteger(messages) || messages < 1) {
      throw new RestitchError('usage', `session.mark(${messages}): expected a whole number of at least 1`);
    }
    this.usage.mark(messages);
    return this;
  }

  /** Refuses moves until `unpin` with the same reason. */
  pin(reason: string): this {
    this.guards.pin(reason);
    this.watcher?.onPinned(this, this.pinned ?? null);
    return this;
  }

  /** Takes back `pin(reason)`, or all pins of the application without a reason. */
  unpin(reason?: string): this {
    this.guards.unpin(reason);
    this.watcher?.onPinned(this, this.pinned ?? null);
    return this;
  }

  /** What its protection costs; undefined below level commit. */
  get replication(): ReplicationCost | undefined {
    return this.replicationCost?.();
  }

  /** Why the session may not move; undefined if it may. */
  get pinned(): string | undefined {
    return this.guards.pinned;
  }

  /**
   * True while the access point thinks that this session had better be served elsewhere. A local read, for use at a safe
   * point of a request: `if (session.shouldMigrate()) await session.migrate()`. Expired or unknown means false.
   */
  shouldMigrate(): boolean {
    return this.targetEndpoint() !== undefined;
  }

  /** Name of the endpoint it should go to; undefined: it stays. */
  targetEndpoint(): string | undefined {
    return this.watcher?.targetOf(this);
  }

  /**
   * Asks to be moved, and waits for what comes of it. Never rejects: with `stayed` the request is served here. Release
   * tokens of `busy()` before, or there is no safe point to move at.
   */
  migrate(options?: MigrateOptions): Promise<MigrateOutcome> {
    const { watcher } = this;
    if (watcher === undefined)
      return Promise.resolve({ outcome: 'stayed', reason: 'not served by an endpoint' });
    return watcher.askMove(this, options);
  }

  /** Runs before this session is frozen, with packets held already: be quick. Throwing refuses the move. */
  onFreeze(hook: FreezeHook): this {
    this.guards.freezeHooks.push(hook);
    return this;
  }

  /** Runs after the session is served again: here after a move that came to nothing, or there if registered while resuming. */
  onThaw(hook: FreezeHook): this {
    this.guards.thawHooks.push(hook);
    return this;
  }

  // ---- what surviving a crash adds ----

  /**
   * Commits now what has happened so far, instead of at the end of this turn of the event loop, and returns the
   * commit's number: it grows over all owners, and `onCommitted` tells when the buddy has it. With `replay` it also
   * says that `session.state` describes everything up to here. 0 for a session that is not protected. Held busy tokens
   * mean that this is no safe point: then only input is committed.
   */
  commit(): number {
    return this.commitNow === undefined ? 0 : this.#commitBase + this.commitNow();
  }

  /** Newest commit that survives this server; 0 if there is none yet. */
  get committedN(): number {
    return this.#committedN;
  }

  /** Runs `done` once commit `n` survives this server; at once if it does, never if the session ends or moves before. */
  onCommitted(n: number, done: () => void): this {
    if (n <= this.#committedN || this.commitNow === undefined) done();
    else this.#awaited.push({ n, done });
    return this;
  }

  /** @internal */
  noteCommitted(ownN: number): void {
    const n = this.#commitBase + ownN;
    if (n <= this.#committedN) return;
    this.#committedN = n;
    const due = this.#awaited.filter((waiting) => waiting.n <= n);
    this.#awaited = this.#awaited.filter((waiting) => waiting.n > n);
    for (const { done } of due) done();
    this.emit('committed', n);
  }

  /** @internal What has been given to the application and not consumed. */
  get unread(): Buffer {
    return Buffer.concat(this.#ledger.tail(this.readableLength));
  }

  // ---- Duplex ----

  override _read(): void {
    this.#carrier?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: WriteDone): void {
    this.#submit([chunk], 'stream', done);
  }

  override _writev(
    chunks: ReadonlyArray<{ chunk: Buffer; encoding: BufferEncoding }>,
    done: WriteDone,
  ): void {
    this.#submit(
      chunks.map((c) => c.chunk),
      'stream',
      done,
    );
  }

  override _final(done: () => void): void {
    this.#output.finish(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const carrier = this.#carrier;
    this.#output.clear(error);
    this.guards.wake();
    if (this.movedTo !== undefined) this.#end.over();
    // What is frozen comes back by a revert and is then closed, or is another endpoint's.
    if (carrier === undefined || this.phase === 'frozen') {
      if (this.phase === 'live') this.#end.settle();
      else if (this.closing !== undefined) this.closingParty?.through();
      done(error);
      return;
    }
    if (carrier.isLasting && carrier.isAttached) {
      this.#flush(carrier);
      done(error);
      return;
    }
    if (carrier.socket.closed) done(error);
    else carrier.socket.once('close', () => done(error));
    if (carrier.isAttached) this.#end.decide(carrier);
    carrier.destroy();
    this.#carrier = undefined;
    if (this.phase === 'live') this.#end.settle();
    else this.closingParty?.through();
  }

  /** As Readable. Decoded text has no byte position, so such a session cannot move. */
  override setEncoding(encoding: BufferEncoding): this {
    this.guards.pinStream('setEncoding is used, unread text has no byte position');
    this.watcher?.onPinned(this, this.pinned ?? null);
    return super.setEncoding(encoding);
  }

  /** As Readable. */
  override unshift(chunk: unknown, encoding?: BufferEncoding): void {
    if (chunk === null) {
      super.unshift(chunk);
      return;
    }
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : (chunk as Uint8Array);
    this.#ledger.prepend(bytes, this.readableLength);
    super.unshift(bytes);
  }

  // A write from a callback that the freeze itself runs belongs to the image: it is taken past the Writable, whose own
  // buffer was emptied a moment ago.
  override write(chunk: unknown, encodingOrDone?: BufferEncoding | WriteDone, done?: WriteDone): boolean {
    const encoding = typeof encodingOrDone === 'string' ? encodingOrDone : 'utf8';
    const callback = typeof encodingOrDone === 'function' ? encodingOrDone : done;
    if (!this.#isFreezing || this.writableEnded) return super.write(chunk, encoding, callback);
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : (chunk as Uint8Array);
    this.#submit([bytes], 'aside', callback);
    return false;
  }

  #submit(chunks: readonly Uint8Array[], origin: OutputOrigin, done?: WriteDone): void {
    const bytes = totalBytes(chunks);
    this.#bytesSubmitted += bytes;
    this.usage.written(bytes);
    this.#output.submit(chunks, origin, done);
  }

  // ---- the server's side ----

  /** @internal The events of a carrier that belongs to this session. */
  get carrierEvents(): CarrierEvents {
    return {
      onData: (chunk) => this.#receive(chunk),
      onEnd: () => this.#deliverEnd(),
      onError: (error) => {
        this.#end.because((error as NodeJS.ErrnoException).code ?? 'error');
        this.destroy(error);
      },
      onEnding: () => this.watcher?.onEnding(this),
      onKept: (fd) => this.#end.leaveNode(fd),
      onClose: () => this.#onCarrierClosed(),
      onTimeout: () => this.emit('timeout'),
    };
  }

  /** @internal Gives the session a connection: at accept, after a thaw, after a revert. */
  attach(carrier: Carrier): void {
    this.#carrier = carrier;
    if (this.destroyed) {
      this.#flush(carrier);
      return;
    }
    this.#end.serve();
    if (this.timeout > 0) carrier.socket.setTimeout(this.timeout);
    this.#output.attach(carrier);
    const undelivered = this.#undelivered;
    this.#undelivered = [];
    for (const chunk of undelivered) this.#receive(chunk);
    // A session whose input has ended still reads its carrier: that is how errors and the close are noticed.
    if (this.#isInputDone || this.readableLength < this.readableHighWaterMark) carrier.resume();
  }

  /** @internal What a resumed session owes the client before anything the application writes. */
  prime(unread: Uint8Array, unwritten: readonly Uint8Array[], sendEnd: boolean): void {
    if (unwritten.length > 0) this.#output.submit(unwritten, 'aside');
    if (sendEnd) this.#output.finish();
    if (unread.length === 0) return;
    this.usage.inherited();
    this.#deliver(unread);
  }

  /** @internal Number of the connection's descriptor; −1 if there is none. */
  get fd(): number {
    const own = this.#carrier?.fd ?? -1;
    return own >= 0 ? own : this.#end.keptFd;
  }

  /** @internal How its application was through with it; undefined while it is not. */
  get closing(): ClosingKind | undefined {
    return this.#end.kind;
  }

  /** @internal True once the application can do nothing to it any more, not even read. */
  get isThrough(): boolean {
    return this.closing !== undefined && this.destroyed;
  }

  /** @internal True if nothing but a descriptor is left of it here: the kernel has all there is to be sent. */
  get isKept(): boolean {
    return this.#end.isWithoutNode && this.#end.keptFd >= 0;
  }

  /** @internal True if not even that is left: both FINs are in, and ours is acknowledged. */
  get isSpent(): boolean {
    return this.#end.isWithoutNode && this.#end.keptFd < 0;
  }

  /** @internal Runs `done` when its connection is over, or served elsewhere; 'close' comes when the application is through. */
  whenOver(done: () => void): void {
    this.#end.whenOver(done);
  }

  /** @internal It came from elsewhere, where its application was through already: no application gets it. Before `attach`. */
  becomeTail(kind: ClosingKind): void {
    this.#end.arrive(kind);
    this.on('error', () => undefined);
    this.destroy();
  }

  /** @internal A tail without more to send comes back, by a revert. */
  keep(fd: number): void {
    this.#end.keep(fd);
  }

  /** @internal The connection of a closing session is over. */
  endClosing(reason: string): void {
    this.#end.endKept(reason);
  }

  /** @internal Ends a closing session by RST, with a name for the reason. Throws what the kernel says; it is over then, too. */
  resetClosing(reason: string): void {
    this.#end.reset(reason);
  }

  /** @internal The kernel does not give its frozen connection back: it ends here, and says why. */
  lose(error: RestitchError): void {
    this.#end.because(error.code);
    this.destroy(error);
    this.#end.now();
  }

  /** @internal The kernel is to finish what the application has ended; nobody here cares for it any more. */
  abandon(): void {
    const carrier = this.#carrier;
    this.#end.abandonKept();
    this.movedTo ??= 'the kernel';
    carrier?.abandon();
    if (this.destroyed) this.#end.over();
    else this.destroy();
  }

  /** @internal Why it cannot be frozen this instant, but may in the next; undefined if it can. */
  get busyReason(): string | undefined {
    if (this.closing !== undefined)
      return this.destroyed ? undefined : 'the application still reads what has come';
    if (this.guards.busyCount > 0) return `${this.guards.busyCount} busy tokens are held`;
    if (this.writableCorked > 0) return 'the stream is corked';
    return undefined;
  }

  /**
   * @internal Takes the connection away, synchronously and without a packet. If the application destroys the session
   * while it is frozen, the caller finds it `destroyed`. Throws `freeze_failed` if the connection has ended.
   */
  freeze(): FrozenSession {
    const carrier = this.#carrier;
    if (this.closing !== undefined && this.fd >= 0) return this.#freezeTail(this.closing);
    if (this.phase !== 'live' || carrier === undefined) {
      throw new RestitchError('freeze_failed', `session ${this.id}: the connection has ended`);
    }
    const unreadBytes = this.readableLength;
    const detached = carrier.detach();
    this.#carrier = undefined;
    this.#end.freeze();
    this.#undelivered = detached.undelivered;
    this.#output.detach(detached.unwritten);
    this.#isFreezing = true;
    try {
      // Running the pending callback makes the Writable hand over its whole buffer; the last callback is kept, so that
      // back-pressure holds until the session is served again.
      while (this.writableLength > this.#output.streamBytes && this.#output.completeStream());
    } finally {
      this.#isFreezing = false;
    }
    return {
      fd: detached.fd,
      unread: Buffer.concat([...this.#ledger.tail(unreadBytes), ...detached.undelivered]),
      unwritten: Buffer.concat(this.#output.remaining()),
      outputEnded: this.#wasOutputEnded || this.writableEnded,
      inputEnded: this.#wasInputEnded || this.readableEnded,
    };
  }

  /** @internal The move is committed: this object ends without touching the connection. */
  leave(target: string): void {
    this.movedTo = target;
    if (this.destroyed) this.#end.over();
    else this.destroy();
  }

  #freezeTail(closing: ClosingKind): FrozenSession {
    const detached = this.#carrier?.detach();
    let unwritten: Uint8Array = new Uint8Array();
    if (detached !== undefined) {
      this.#output.detach(detached.unwritten);
      unwritten = Buffer.concat(this.#output.remaining());
      this.#carrier = undefined;
    }
    const keptFd = this.#end.freeze();
    const fd = detached?.fd ?? keptFd;
    const outputEnded = closing !== 'reset';
    return { fd, unread: new Uint8Array(), unwritten, outputEnded, inputEnded: true, closing };
  }

  /** The application is through, and output is still to be given to the kernel, with the FIN behind it. */
  #flush(carrier: Carrier): void {
    this.#carrier = carrier;
    carrier.stopReading();
    this.#end.decide(carrier);
    this.#end.begin();
    this.closingParty?.through();
    this.#output.attach(carrier);
    this.#output.finish(() => carrier.letGo());
  }

  /** The connection is over; what the application has not read yet stays readable, as with net.Socket. */
  #onCarrierClosed(): void {
    this.#carrier = undefined;
    this.#end.carrierClosed();
    if (this.#isInputDone && !this.#wasInputEnded && !this.readableEnded && !this.errored) {
      this.once('end', () => this.destroy());
    } else this.destroy();
  }

  #receive(chunk: Uint8Array): boolean {
    this.usage.received(chunk.length);
    return this.#deliver(chunk);
  }

  #deliver(chunk: Uint8Array): boolean {
    if (this.#isInputDone || this.destroyed) return true;
    this.#ledger.trim(this.readableLength);
    this.#ledger.append(chunk);
    this.#bytesPushed += chunk.length;
    return this.push(chunk);
  }

  #deliverEnd(): void {
    if (this.#isInputDone) return;
    this.#isInputDone = true;
    this.push(null);
  }
}
