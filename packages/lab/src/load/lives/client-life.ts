/**
 * One connection of a client that stays in a phase of its end: connects, plays its script, says how it ended.
 *
 * A script is a generator that yields while it waits: it reads top to bottom as the client would be told by hand, and the
 * driver steps all of them on one clock.
 */
import type { TailCommand } from '../apps/tail-app.js';
import { monotonicMs } from '../clients/monotonic.js';
import type { LifeEnd, LifeKind, LifeRecord } from './life-kinds.js';
import type { LifePlan } from './life-plan.js';
import { RawConnection } from './raw-connection.js';
import { StreamChecker } from './stream-checker.js';

/** Whom to connect to, and by which script. */
export interface LifeOptions {
  readonly kind: LifeKind;
  readonly tag: string;
  readonly address: string;
  readonly port: number;
  readonly plan: LifePlan;
  /** True once the run is over: who waits on purpose goes on. */
  readonly isHurried: () => boolean;
}

/** A client that gets nothing it is owed for so long is given up: it has shown what there is to show. */
const stuckMs = 20_000;
/** TCP repeats a SYN after 1, 3, 7 and 15 s. */
const connectLimitMs = 16_000;
/** Any answer at all shows that an application has accepted the connection. */
const greetingBytes = 16;

const memory = Buffer.alloc(1 << 18);

/** Why a script stopped before its end. */
class Over extends Error {
  constructor(readonly end: LifeEnd) {
    super(end);
  }
}

/** A script; what it yields means nothing. */
export type Script = Generator<void, LifeEnd, void>;

/** One connection. Subclasses are scripts. */
export abstract class ClientLife {
  protected readonly plan: LifePlan;
  protected connection: RawConnection;
  protected incoming: StreamChecker;
  readonly #options: LifeOptions;
  #script: Script | undefined;
  #out: Buffer[] = [];
  #sentBytes = 0;
  #ackedBytes = 0;
  #hasEndedOutput = false;
  #owedSinceMs = 0;
  #silentMs = 0;
  #phaseFromMs: number | undefined;
  readonly #phases: Array<readonly [number, number]> = [];
  readonly #checkers: StreamChecker[] = [];
  #openedAtMs = 0;
  #connectedAtMs: number | undefined;
  #firstByteAtMs: number | undefined;
  #endedAtMs = 0;
  #end: LifeEnd | undefined;

  constructor(options: LifeOptions) {
    this.#options = options;
    this.plan = options.plan;
    this.incoming = this.startAnew();
    this.connection = this.connect();
  }

  get isOver(): boolean {
    return this.#end !== undefined;
  }

  get kind(): LifeKind {
    return this.#options.kind;
  }

  get tag(): string {
    return this.#options.tag;
  }

  get localPort(): number {
    return this.connection.localPort;
  }

  get isConnected(): boolean {
    return this.#connectedAtMs !== undefined;
  }

  /** In the phase of its kind now. */
  get isInPhase(): boolean {
    return this.#phaseFromMs !== undefined;
  }

  /** How long it has been owed something now. */
  owedMs(nowMs: number): number {
    return this.#owedSinceMs === 0 ? 0 : nowMs - this.#owedSinceMs;
  }

  /** Goes on with the script as far as it gets. */
  step(): void {
    if (this.isOver) return;
    this.#script ??= this.play();
    try {
      const { done, value } = this.#script.next();
      if (done === true) this.#finish(value);
    } catch (error) {
      if (!(error instanceof Over)) throw error;
      this.#finish(error.end);
    }
  }

  /** The run is over, and it is not. */
  giveUp(): void {
    if (!this.isOver) this.#finish(this.owedMs(monotonicMs()) > stuckMs / 4 ? 'stuck' : 'ended');
  }

  /** How it went; only once it is over. */
  record(): LifeRecord {
    const { kind, tag } = this.#options;
    const sum = (of: (checker: StreamChecker) => number): number =>
      this.#checkers.reduce((total, checker) => total + of(checker), 0);
    const end = this.#end ?? 'ended';
    const missing = end === 'early-eof' ? Math.max(0, this.expectedBytes - this.incoming.position) : 0;
    return {
      kind,
      tag,
      localPort: this.localPort,
      openedAtMs: this.#openedAtMs,
      ...(this.#connectedAtMs === undefined ? {} : { connectedAtMs: this.#connectedAtMs }),
      ...(this.#firstByteAtMs === undefined ? {} : { firstByteAtMs: this.#firstByteAtMs }),
      endedAtMs: this.#endedAtMs,
      end,
      ...(this.connection.error === undefined ? {} : { error: this.connection.error }),
      phases: this.#phases,
      receivedBytes: sum((c) => c.receivedBytes),
      lostBytes: sum((c) => c.lostBytes) + missing,
      doubledBytes: sum((c) => c.doubledBytes),
      wrongBytes: sum((c) => c.wrongBytes),
      ackedBytes: this.#ackedBytes,
      silentMs: this.#silentMs,
      ...(end === 'complete' && this.uploadedBytes > 0 ? { uploadedBytes: this.uploadedBytes } : {}),
    };
  }

  /** The script. */
  protected abstract play(): Script;
  /** What the server has to send before it may end. */
  protected abstract get expectedBytes(): number;

  /** What a collecting server must have got by the end. */
  protected get uploadedBytes(): number {
    return 0;
  }

  protected get isHurried(): boolean {
    return this.#options.isHurried();
  }

  /** The server breaks off on purpose. */
  protected get isResetExpected(): boolean {
    return false;
  }

  /** Another connection begins: what was answered and acknowledged is of the one before. */
  protected startAnew(): StreamChecker {
    this.#connectedAtMs = undefined;
    this.#firstByteAtMs = undefined;
    this.#sentBytes = 0;
    this.#ackedBytes = 0;
    this.incoming = new StreamChecker(this.plan.base);
    this.#checkers.push(this.incoming);
    return this.incoming;
  }

  protected connect(localPort = 0): RawConnection {
    this.#openedAtMs ||= monotonicMs();
    const { address, port } = this.#options;
    const { receiveBufferBytes } = this.plan;
    return new RawConnection({
      address,
      port,
      localPort,
      ...(receiveBufferBytes === undefined ? {} : { receiveBufferBytes }),
    });
  }

  /** Waits for the handshake and says what the server is to do. */
  protected *begin(
    command: Omit<TailCommand, 'tag' | 'base' | 'bytes'> & { bytes?: number },
  ): Generator<void> {
    const sinceMs = monotonicMs();
    this.owe();
    for (;;) {
      this.connection.pollConnected();
      if (this.connection.isConnected) break;
      // A SYN is refused, a connection reset: this one stood for less than a look takes.
      if (this.connection.error === 'ECONNRESET') throw new Over('reset');
      if (this.connection.error !== undefined) throw new Over('refused');
      if (monotonicMs() - sinceMs > connectLimitMs) throw new Over('refused');
      yield;
    }
    this.owe(false);
    this.#connectedAtMs = monotonicMs();
    const { base, totalBytes: bytes } = this.plan;
    this.send(Buffer.from(`${JSON.stringify({ tag: this.tag, base, bytes, ...command })}\n`));
    yield;
  }

  /** Reads the first bytes, and no more. */
  protected *greeting(): Generator<void> {
    yield* this.readTo(Math.min(greetingBytes, this.expectedBytes), true);
  }

  /** Reads until `position` of the stream has come. The end before that is an early one. */
  protected *readTo(position: number, isExact = false): Generator<void> {
    this.owe();
    while (this.incoming.position < position) {
      const most = isExact ? position - this.incoming.position : memory.length;
      this.read(most);
      if (this.incoming.position >= position) break;
      if (this.connection.isEof) throw new Over('early-eof');
      // Also where more may be there: others have a turn.
      yield;
    }
    this.owe(false);
  }

  /** Reads the server's end, which must come now, and nothing before it. */
  protected *readEnd(): Generator<void> {
    this.owe();
    for (this.read(memory.length); !this.connection.isEof; this.read(memory.length)) yield;
    this.owe(false);
  }

  /** Ends our output when all of it is with the kernel. */
  protected *endOutput(): Generator<void> {
    while (this.#out.length > 0) {
      this.flush();
      yield;
    }
    if (this.#hasEndedOutput) return;
    this.connection.endOutput();
    this.#hasEndedOutput = true;
  }

  /** Waits until everything of ours, the end counted, is acknowledged. */
  protected *acknowledged(): Generator<void> {
    this.owe();
    while (this.pollAcknowledged() > 0) {
      this.check();
      yield;
    }
    this.owe(false);
  }

  /** Stays for a time, reading nothing; in a hurry not at all. */
  protected *stay(forMs: number): Generator<void> {
    const untilMs = monotonicMs() + forMs;
    while (monotonicMs() < untilMs && !this.isHurried) {
      this.flush();
      yield;
    }
  }

  /** In the phase of this kind from now on, or no longer. */
  protected enter(isIn = true): void {
    const nowMs = monotonicMs();
    if (!isIn && this.#phaseFromMs !== undefined) this.#phases.push([this.#phaseFromMs, nowMs]);
    this.#phaseFromMs = isIn ? (this.#phaseFromMs ?? nowMs) : undefined;
  }

  /** Hands bytes to the kernel as it takes them. */
  protected send(bytes: Buffer): void {
    this.#out.push(bytes);
    this.#sentBytes += bytes.length;
    this.flush();
  }

  /** True if nothing of ours waits for the kernel. */
  protected get isFlushed(): boolean {
    return this.#out.length === 0;
  }

  protected flush(): void {
    for (let first = this.#out[0]; first !== undefined; first = this.#out[0]) {
      const took = this.connection.write(first);
      if (took < first.length) {
        this.#out[0] = first.subarray(took);
        break;
      }
      this.#out.shift();
    }
    this.check();
  }

  /** Reads at most so much once; the number of bytes. */
  protected read(most: number): number {
    this.flush();
    const got = this.connection.read(memory.subarray(0, most));
    if (got > 0) {
      this.#firstByteAtMs ??= monotonicMs();
      this.incoming.push(memory.subarray(0, got));
      this.progress();
    }
    this.check();
    return got;
  }

  protected get isOwed(): boolean {
    return this.#owedSinceMs > 0;
  }

  /** The server owes us something from now on, or no longer. */
  protected owe(isOwed = true): void {
    const nowMs = monotonicMs();
    if (this.#owedSinceMs > 0) this.#silentMs = Math.max(this.#silentMs, nowMs - this.#owedSinceMs);
    this.#owedSinceMs = isOwed ? nowMs : 0;
  }

  /** Something of what it owes has come. */
  protected progress(): void {
    if (this.#owedSinceMs > 0) this.owe();
  }

  /** How much of ours is not acknowledged. */
  protected pollAcknowledged(): number {
    const left = this.connection.unacknowledged;
    if (left === undefined) return 0;
    const waiting = this.#out.reduce((sum, bytes) => sum + bytes.length, 0);
    const acked = this.#sentBytes - waiting - left;
    if (acked > this.#ackedBytes) {
      this.#ackedBytes = acked;
      this.progress();
    }
    return left + waiting;
  }

  /** Throws if there is nothing more to wait for. */
  protected check(): void {
    if (this.connection.error !== undefined) throw new Over('reset');
    if (this.owedMs(monotonicMs()) > stuckMs) throw new Over('stuck');
  }

  #finish(seen: LifeEnd): void {
    const end = seen === 'reset' && this.isResetExpected ? 'complete' : seen;
    this.pollAcknowledged();
    this.enter(false);
    this.owe(false);
    this.#end = end;
    this.#endedAtMs = monotonicMs();
    this.connection.close();
  }
}
