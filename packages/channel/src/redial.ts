/**
 * When to dial again after a connection failed or broke.
 *
 * Pauses double, and are spread so that a restarted party is not stormed. Where somebody's host answers that nobody listens
 * the pause stays short: asking costs that host one packet, it means a restart, and leases run out meanwhile.
 */
import { RestitchError } from '@restitch/core';
import { nobodyListens } from './refusals.js';

/** Pauses in milliseconds. */
export interface RedialPauses {
  readonly firstMs: number;
  readonly longestMs: number;
  readonly random?: () => number;
}

/** Longest pause before asking a host again on which nobody listens, in milliseconds. */
const longestUnheardMs = 200;

/** The pauses of one connection. */
export class Redial {
  readonly #firstMs: number;
  readonly #longestMs: number;
  readonly #random: () => number;
  #nextMs: number;

  constructor({ firstMs, longestMs, random = Math.random }: RedialPauses) {
    this.#firstMs = firstMs;
    this.#longestMs = longestMs;
    this.#random = random;
    this.#nextMs = firstMs;
  }

  /** The other side was reached: the next pause is the first again. */
  reached(): void {
    this.#nextMs = this.#firstMs;
  }

  /** How long to wait in milliseconds, after what `openChannel` or `onClose` gave as the reason. */
  pauseMs(reason: unknown): number {
    const wholeMs = isUnheard(reason) ? Math.min(this.#nextMs, longestUnheardMs) : this.#nextMs;
    this.#nextMs = Math.min(this.#longestMs, wholeMs * 2);
    return wholeMs * (0.5 + this.#random() / 2);
  }
}

/** True for the answer of a host on which nobody listens at that port. */
function isUnheard(reason: unknown): boolean {
  return reason instanceof RestitchError && reason.details['reason'] === nobodyListens;
}
