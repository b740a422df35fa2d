/**
 * How many moves may be between hold and switch at once, at each endpoint.
 *
 * A freeze is work for one event loop: begun all together, a hundred of them make each other late, and the clients wait
 * behind a hold for nothing. Prepared moves wait here instead, where it costs nobody anything. The width follows what
 * comes out (additive increase, multiplicative decrease, as TCP does for the same reason): no figure that fits one
 * machine fits the next.
 */
import type { Clock } from '@restitch/core';
import type { Endpoint } from '../model/endpoint-registry.js';
import type { Move } from './move.js';

/** Two ends and something between them: enough to keep all three busy from the start. */
const firstWidth = 4;
const mostWidth = 64;
/** Of the budget: a move this quick leaves room for one more, one this slow says there were too many. */
const quickRatio = 1 / 8;
const slowRatio = 1 / 2;
/** Moves looked at behind one that must wait. */
const maxLookahead = 64;

interface Door {
  width: number;
  inside: number;
  /** CLOCK_MONOTONIC milliseconds of the last narrowing: one burst of late moves narrows once. */
  narrowedAtMs: number;
}

/** The gate of one access point. */
export class MoveGate {
  readonly #clock: Clock;
  readonly #budgetMs: () => number;
  readonly #doors = new WeakMap<Endpoint, Door>();
  readonly #inside = new Set<Move>();
  #waiting: Move[] = [];

  constructor(clock: Clock, budgetMs: () => number) {
    this.#clock = clock;
    this.#budgetMs = budgetMs;
  }

  /** The move is prepared; it gets `admitted`, now or later. */
  enter(move: Move): void {
    if (this.#hasRoom(move)) this.#admit(move);
    else this.#waiting.push(move);
  }

  /** The move has left the time between hold and switch, or does not want to go there any more. */
  leave(move: Move): void {
    if (!this.#inside.delete(move)) {
      const at = this.#waiting.indexOf(move);
      if (at >= 0) this.#waiting.splice(at, 1);
      return;
    }
    for (const endpoint of [move.source, move.target]) {
      const door = this.#doorOf(endpoint);
      door.inside--;
      this.#adapt(door, move);
    }
    this.#admitWaiting();
  }

  /** Moves that may be between hold and switch at the endpoint now. */
  widthOf(endpoint: Endpoint): number {
    return this.#doorOf(endpoint).width;
  }

  #admitWaiting(): void {
    for (let i = 0; i < Math.min(this.#waiting.length, maxLookahead); ) {
      const move = this.#waiting[i];
      if (move === undefined || !this.#hasRoom(move)) {
        i++;
        continue;
      }
      this.#waiting.splice(i, 1);
      this.#admit(move);
    }
  }

  #admit(move: Move): void {
    this.#inside.add(move);
    this.#doorOf(move.source).inside++;
    this.#doorOf(move.target).inside++;
    move.post('admitted');
  }

  #hasRoom(move: Move): boolean {
    return [move.source, move.target].every((endpoint) => {
      const door = this.#doorOf(endpoint);
      return door.inside < Math.floor(door.width);
    });
  }

  #adapt(door: Door, move: Move): void {
    const nowMs = this.#clock.monotonicMs();
    const budgetMs = this.#budgetMs();
    const isCommitted = move.switchNs > 0n;
    const tookMs = isCommitted ? Number(move.switchNs - move.holdNs) / 1e6 : budgetMs;
    const isSlow = isCommitted ? tookMs > budgetMs * slowRatio : move.failure?.code === 'deadline_exceeded';
    if (isSlow && nowMs - door.narrowedAtMs >= budgetMs) {
      door.width = Math.max(1, door.width / 2);
      door.narrowedAtMs = nowMs;
    } else if (isCommitted && tookMs < budgetMs * quickRatio) {
      door.width = Math.min(mostWidth, door.width + 1 / door.width);
    }
  }

  #doorOf(endpoint: Endpoint): Door {
    const known = this.#doors.get(endpoint);
    if (known !== undefined) return known;
    const door = { width: firstWidth, inside: 0, narrowedAtMs: 0 };
    this.#doors.set(endpoint, door);
    return door;
  }
}
