/** Tells the access point whose replica is where: gathered, for a dead buddy's sessions change all at once. */
import type { Clock } from '@restitch/core';
import type { FromEndpoint } from '@restitch/wire/internal';
import type { ReplicatedSession } from './replicated-session.js';

/** A person who looks is content with this; the changes of that time share one message. */
const gatherMs = 50;
const perMessage = 4096;

/** What was said, and what is still to be said. */
export class BuddyReports {
  readonly #clock: Clock;
  readonly #tell: (message: FromEndpoint) => void;
  readonly #untold = new Set<ReplicatedSession>();

  constructor(clock: Clock, tell: (message: FromEndpoint) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** Its buddy may have changed. A frozen session is told of when it is served again. */
  note(owned: ReplicatedSession): void {
    if (owned.toldBuddy === wordOf(owned) || owned.isHeld) return;
    if (this.#untold.size === 0) this.#clock.after(gatherMs, () => this.#flush());
    this.#untold.add(owned);
  }

  /** A new access point, or one that was away, knows nothing of buddies. */
  repeat(all: Iterable<ReplicatedSession>): void {
    for (const owned of all) {
      owned.toldBuddy = undefined;
      this.note(owned);
    }
  }

  #flush(): void {
    const all = [...this.#untold].filter((owned) => !owned.isOver);
    this.#untold.clear();
    for (let i = 0; i < all.length; i += perMessage) {
      const sessions = all.slice(i, i + perMessage).map((owned) => {
        // What is said now, which may be another thing than when it was noted.
        owned.toldBuddy = wordOf(owned);
        return { id: owned.session.id, buddy: owned.buddy ?? null, isReady: owned.isReady };
      });
      this.#tell({ t: 'buddies', sessions });
    }
  }
}

function wordOf(owned: ReplicatedSession): string {
  return `${owned.buddy ?? ''} ${owned.isReady}`;
}

/** Gauges of a heartbeat: sessions, those without a buddy, and those not yet, or not again, at theirs. */
export function countByProtection(
  sessions: ReadonlyArray<{ readonly buddy: string | undefined; readonly isReady: boolean }>,
): Record<string, number> {
  const degraded = sessions.filter((s) => s.buddy === undefined).length;
  const ready = sessions.filter((s) => s.isReady).length;
  return {
    endpoint_protected_sessions: sessions.length,
    endpoint_degraded_sessions: degraded,
    endpoint_unreplicated_sessions: sessions.length - degraded - ready,
  };
}
