/**
 * How a session ends. Its application may be through with it long before its client has everything, and Node before the
 * kernel: in between the session is `closing`, and a descriptor is all that may be left of it.
 *
 * Kept apart from the streams of a session because it outlives them. It alone says where the session's connection is:
 * whether it is over may be asked, and must be told once, whoever notices first.
 */
import type { Flow } from '@restitch/core';
import { closeFd } from '@restitch/sys';
import { resetClosing } from '../tcp/closing-socket.js';
import type { Carrier } from './carrier.js';
import type { ClosingKind, ClosingParty, SessionPhase } from './session-init.js';

/** What the end of a session looks at, and whom it tells. */
export interface EndHost {
  readonly flow: Flow;
  readonly carrier: () => Carrier | undefined;
  /** The client has sent its end. */
  readonly isInputDone: () => boolean;
  readonly party: () => ClosingParty | undefined;
  /** The application is through; told once. */
  readonly onClosing: () => void;
  /** The connection has ended here; told once, and not of one that another endpoint serves. */
  readonly onClosed: (reason: string) => void;
}

/** Where the connection of one session is, and how it ends. */
export class SessionEnd {
  readonly #host: EndHost;
  #phase: SessionPhase = 'live';
  #kind: ClosingKind | undefined;
  #reason = 'closed';
  /** The connection's descriptor, once Node's is closed and the connection is not over. */
  #keptFd = -1;
  #isTold = false;
  readonly #whenOver: Array<() => void> = [];

  constructor(host: EndHost) {
    this.#host = host;
  }

  get phase(): SessionPhase {
    return this.#phase;
  }

  /** How the application was through; undefined while it is not. */
  get kind(): ClosingKind | undefined {
    return this.#kind;
  }

  /** −1 if there is none. */
  get keptFd(): number {
    return this.#keptFd;
  }

  /** True if Node has nothing of a closing connection any more. */
  get isWithoutNode(): boolean {
    return this.#phase === 'closing' && this.#host.carrier() === undefined;
  }

  /** Runs `done` when the connection is over, or served elsewhere. */
  whenOver(done: () => void): void {
    if (this.#phase === 'closed') done();
    else this.#whenOver.push(done);
  }

  /** It has a connection, and an application. */
  serve(): void {
    this.#phase = 'live';
  }

  /** Its connection is taken away. Returns the kept descriptor, which is the caller's now. */
  freeze(): number {
    this.#phase = 'frozen';
    return this.#takeKept();
  }

  /** It comes from elsewhere, where its application was through already; its connection follows. */
  arrive(kind: ClosingKind): void {
    this.#kind = kind;
    this.#phase = 'frozen';
  }

  /** A tail without more to send comes back, by a revert. */
  keep(fd: number): void {
    this.#keptFd = fd;
    this.#phase = 'closing';
  }

  /** Node is through with the connection, which is not over. */
  leaveNode(fd: number): void {
    this.#keptFd = fd;
    this.begin();
  }

  /** Whether a FIN or a reset is at the end: as the kernel's own close decides, by what nobody has read. */
  decide(carrier: Carrier): void {
    this.#kind ??= this.#host.isInputDone() ? 'ended' : carrier.hasUnread ? 'reset' : 'destroyed';
    carrier.endsByReset = this.#kind === 'reset';
  }

  /** The application is through, and the connection is not over. */
  begin(): void {
    if (this.#phase === 'closing' || this.#phase === 'closed') return;
    this.#phase = 'closing';
    this.#kind ??= this.#host.isInputDone() ? 'ended' : 'destroyed';
    const party = this.#host.party();
    // Below level commit the kernel may say it alone, should this process die.
    if (this.#kind === 'reset' && party?.finisher === 'kernel') party.allowReset();
    if (this.#isTold) return;
    this.#isTold = true;
    this.#host.onClosing();
  }

  /** What is told as the reason once it is over. */
  because(reason: string): void {
    this.#reason = reason;
  }

  /** Over, and nobody is told: it is another endpoint's, or the kernel's. */
  over(): void {
    this.#phase = 'closed';
    for (const done of this.#whenOver.splice(0)) done();
  }

  /** The connection has ended here. A frozen session's end is the mover's to tell: it may be another endpoint's by then. */
  now(): void {
    if (this.#phase === 'closed') return;
    this.over();
    this.#host.onClosed(this.#reason);
  }

  /** As `now`, but the client's FIN may wait for its commit: until then it is not acknowledged, and this is no end. */
  settle(): void {
    if (this.#reason === 'closed' && this.#host.party()?.isSettled === false) this.begin();
    else this.now();
  }

  /** Node's connection has closed; with a kept descriptor that is not the end. */
  carrierClosed(): void {
    if (this.#phase === 'live' || (this.#phase === 'closing' && this.#keptFd < 0)) this.settle();
  }

  /** What is left of a closing session without Node is over. */
  endKept(reason: string): void {
    if (!this.isWithoutNode) return;
    this.abandonKept();
    this.#reason = reason;
    this.now();
  }

  /** Ends a closing session by RST. Throws what the kernel says; it is over then, too. */
  reset(reason: string): void {
    if (this.#phase !== 'closing') return;
    this.#host.party()?.allowReset();
    this.#reason = reason;
    const carrier = this.#host.carrier();
    if (carrier !== undefined) {
      carrier.reset();
      return;
    }
    const fd = this.#takeKept();
    try {
      if (fd >= 0) resetClosing(fd, this.#host.flow);
    } finally {
      this.now();
    }
  }

  /** Lets go of what was kept; the kernel finishes it alone. */
  abandonKept(): void {
    const fd = this.#takeKept();
    if (fd >= 0) closeFd(fd);
  }

  #takeKept(): number {
    const fd = this.#keptFd;
    this.#keptFd = -1;
    return fd;
  }
}
