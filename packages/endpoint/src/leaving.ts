/**
 * A graceful stop: everything is moved away, what cannot be moved is waited for, and then the process may end.
 *
 * Waiting is for the kernel's sockets too, not only for sessions: a tail that no session stands for is as lost with the host.
 */
import type { Clock, Logger } from '@restitch/core';
import type { Residue } from './tcp/kernel-sockets.js';

/** What is left here. */
export interface LeftBehind {
  /** Sessions, those that are closing among them. */
  readonly sessions: number;
  readonly closing: number;
  /** What sockets of this endpoint's VIPs owe their clients, whoever made them. */
  readonly residue: Residue;
}

/** What leaving needs. */
export interface LeavingContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timeoutMs: number;
  readonly tell: (on: boolean, deadlineMs: number) => void;
  readonly sessions: () => Omit<LeftBehind, 'residue'>;
  readonly residue: () => Residue;
}

const lookMs = 20;

/** A stop that loses nothing. */
export class Leaving {
  readonly #ctx: LeavingContext;
  #drain: Promise<LeftBehind> | undefined;
  #onSigterm: (() => void) | undefined;

  constructor(context: LeavingContext) {
    this.#ctx = context;
  }

  /** Resolves when nothing is left, or after `timeoutMs` with what is. A second call waits for the first. */
  drain(timeoutMs = this.#ctx.timeoutMs): Promise<LeftBehind> {
    this.#drain ??= this.#wait(timeoutMs).finally(() => (this.#drain = undefined));
    return this.#drain;
  }

  /** From now on SIGTERM drains; the process exits behind it unless the application listens to the signal itself. */
  watchSigterm(): void {
    if (this.#onSigterm !== undefined) return;
    this.#onSigterm = () => {
      const isOurs = process.listenerCount('SIGTERM') === 1;
      void this.drain().then((left) => {
        if (left.sessions > 0)
          this.#ctx.logger.warn({ ...left }, 'SIGTERM: time is over, sessions are left behind');
        if (isOurs) process.exit(0);
      });
    };
    process.on('SIGTERM', this.#onSigterm);
  }

  close(): void {
    if (this.#onSigterm !== undefined) process.off('SIGTERM', this.#onSigterm);
    this.#onSigterm = undefined;
  }

  async #wait(timeoutMs: number): Promise<LeftBehind> {
    const { clock, logger, tell, sessions, residue } = this.#ctx;
    const untilMs = clock.monotonicMs() + timeoutMs;
    tell(true, timeoutMs);
    logger.info({ timeoutMs, ...sessions() }, 'leaving: sessions are moved away');
    for (;;) {
      const isOver = clock.monotonicMs() >= untilMs;
      const now = sessions();
      // The kernel is asked last: its list is long while there are sessions.
      const owed = now.sessions === 0 || isOver ? residue() : undefined;
      if (owed !== undefined && (isOver || owed.sockets === 0)) return { ...now, residue: owed };
      await new Promise<void>((resolve) => clock.after(lookMs, resolve));
    }
  }
}
