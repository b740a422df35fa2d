/**
 * When sessions commit: all that changed in one turn of the event loop together, at its end. Those for which waiting
 * brings more into one commit wait for an acknowledgement, or a moment for more input.
 */
import type { Clock } from '@restitch/core';
import type { ReplicatedSession } from './replicated-session.js';

/** What a schedule does with sessions that are due. */
export interface CommitScheduleOptions {
  readonly commit: (session: ReplicatedSession) => void;
  /** All of a turn are done: what they sent may leave. */
  readonly onTurnDone: () => void;
  readonly clock: Clock;
}

/** How long input gathers at most; Node's timers do not know less. */
const gatherMs = 1;

/** The sessions of one endpoint that have something to commit. */
export class CommitSchedule {
  readonly #options: CommitScheduleOptions;
  readonly #dirty = new Set<ReplicatedSession>();
  readonly #waiting = new Set<ReplicatedSession>();
  readonly #gathering = new Set<ReplicatedSession>();
  #isScheduled = false;

  constructor(options: CommitScheduleOptions) {
    this.#options = options;
  }

  /** Something happened of which the buddy does not know. */
  mark(session: ReplicatedSession): void {
    this.#dirty.add(session);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#turn());
  }

  /** The buddy has acknowledged a commit of it. */
  acknowledged(session: ReplicatedSession): void {
    if (this.#waiting.delete(session)) this.mark(session);
  }

  forget(session: ReplicatedSession): void {
    for (const set of [this.#dirty, this.#waiting, this.#gathering]) set.delete(session);
  }

  #turn(): void {
    this.#isScheduled = false;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const session of dirty) {
      const reason = session.waitsFor;
      if (reason === undefined) this.#options.commit(session);
      else if (reason === 'acknowledgement') this.#waiting.add(session);
      else this.#gather(session);
    }
    this.#options.onTurnDone();
  }

  /** One timer for all that gather. */
  #gather(session: ReplicatedSession): void {
    this.#gathering.add(session);
    if (this.#gathering.size > 1) return;
    this.#options.clock.after(gatherMs, () => {
      const gathered = [...this.#gathering];
      this.#gathering.clear();
      for (const one of gathered) this.mark(one);
    });
  }
}
