/** Moves that were asked for and have not begun, in the order in which they may begin. */
import type { Clock } from '@restitch/core';
import type { MoveDone, MoveOrigin, MoveRequest } from './move-request.js';
import type { MovesConfig } from '../config/index.js';
import type { SessionRegistry } from '../model/session-registry.js';

/** One move that was asked for. */
export interface Wish extends MoveRequest {
  readonly priority: number;
  readonly done: MoveDone;
}

/** How often a list is searched past wishes that must wait; bounds one search, not the list. */
const maxLookahead = 64;

/** Wishes by origin; recommendations by priority, paced, and not before their session has settled. */
export class WishList {
  readonly #clock: Clock;
  readonly #sessions: SessionRegistry;
  readonly #policy: () => MovesConfig;
  readonly #wake: () => void;
  readonly #lists: Record<MoveOrigin, Wish[]> = { manual: [], drain: [], recommended: [] };
  #nextRecommendedMs = 0;
  #cancelWake: (() => void) | undefined;

  constructor(clock: Clock, sessions: SessionRegistry, policy: () => MovesConfig, wake: () => void) {
    this.#clock = clock;
    this.#sessions = sessions;
    this.#policy = policy;
    this.#wake = wake;
  }

  get size(): number {
    return this.#lists.manual.length + this.#lists.drain.length + this.#lists.recommended.length;
  }

  add(wish: Wish): void {
    const list = this.#lists[wish.origin];
    if (wish.origin === 'recommended') {
      const at = list.findIndex((other) => other.priority < wish.priority);
      list.splice(at < 0 ? list.length : at, 0, wish);
    } else list.push(wish);
  }

  /** Removes and returns those that are not wanted any more and have not begun. */
  drop(isOver: (wish: Wish) => boolean): Wish[] {
    const dropped: Wish[] = [];
    for (const origin of ['manual', 'drain', 'recommended'] as const) {
      dropped.push(...this.#lists[origin].filter(isOver));
      this.#lists[origin] = this.#lists[origin].filter((wish) => !isOver(wish));
    }
    return dropped;
  }

  /** Removes and returns the next wish that may begin now. */
  take(hasRoom: (wish: Wish) => boolean): Wish | undefined {
    for (const origin of ['manual', 'drain'] as const) {
      const wish = this.#takeFrom(this.#lists[origin], hasRoom);
      if (wish !== undefined) return wish;
    }
    return this.#takeRecommended(hasRoom);
  }

  #takeFrom(list: Wish[], mayBegin: (wish: Wish) => boolean): Wish | undefined {
    const end = Math.min(list.length, maxLookahead);
    for (let i = 0; i < end; i++) {
      const wish = list[i];
      if (wish !== undefined && mayBegin(wish)) {
        list.splice(i, 1);
        return wish;
      }
    }
    return undefined;
  }

  #takeRecommended(hasRoom: (wish: Wish) => boolean): Wish | undefined {
    const list = this.#lists.recommended;
    if (list.length === 0) return undefined;
    const nowMs = this.#clock.monotonicMs();
    const { minimumResidenceMs, perSecond } = this.#policy();
    if (nowMs < this.#nextRecommendedMs) {
      this.#wakeIn(this.#nextRecommendedMs - nowMs);
      return undefined;
    }
    const wish = this.#takeFrom(list, (candidate) => {
      const session = this.#sessions.byId(candidate.sessionId);
      const hasSettled = session === undefined || nowMs - session.residesSinceMs >= minimumResidenceMs;
      return hasSettled && hasRoom(candidate);
    });
    if (wish !== undefined)
      this.#nextRecommendedMs = nowMs + (perSecond === undefined ? 0 : 1000 / perSecond);
    else this.#wakeIn(100);
    return wish;
  }

  #wakeIn(delayMs: number): void {
    if (this.#cancelWake !== undefined) return;
    this.#cancelWake = this.#clock.after(Math.max(1, delayMs), () => {
      this.#cancelWake = undefined;
      this.#wake();
    });
  }
}
