/**
 * An urgent byte that comes alone makes no 'data' event, and nothing would be committed, so that its client would wait for an
 * acknowledgement until it sends more. The kernel sends SIGURG, without saying for which socket: then all are looked at.
 */
import type { Clock } from '@restitch/core';
import { pollEvent, pollFd, signalUrgentBytes } from '@restitch/sys/internal';
import type { ReplicatedSession } from './replicated-session.js';

/** However many urgent bytes come: a look costs half a microsecond a session. */
const lookAgainMs = 100;

/** The sessions of one endpoint whose clients may send urgent bytes. */
export class UrgentBytes {
  readonly #clock: Clock;
  readonly #onUrgent: (session: ReplicatedSession) => void;
  readonly #sessions: () => Iterable<ReplicatedSession>;
  readonly #onSignal = (): void => this.#look();
  #isPaused = false;
  #isMissed = false;
  #isWatching = false;

  constructor(
    clock: Clock,
    sessions: () => Iterable<ReplicatedSession>,
    onUrgent: (session: ReplicatedSession) => void,
  ) {
    this.#clock = clock;
    this.#sessions = sessions;
    this.#onUrgent = onUrgent;
  }

  /** A connection of this process; without a descriptor nothing is watched. */
  watch(fd: number): void {
    if (fd < 0) return;
    if (!this.#isWatching) process.on('SIGURG', this.#onSignal);
    this.#isWatching = true;
    signalUrgentBytes(fd);
  }

  close(): void {
    process.off('SIGURG', this.#onSignal);
    this.#isWatching = false;
  }

  #look(): void {
    if (this.#isPaused) {
      this.#isMissed = true;
      return;
    }
    this.#isPaused = true;
    for (const owned of this.#sessions()) {
      const { fd } = owned.session;
      if (fd >= 0 && (pollFd(fd, pollEvent.urgent) & pollEvent.urgent) !== 0) this.#onUrgent(owned);
    }
    this.#clock.after(lookAgainMs, () => {
      this.#isPaused = false;
      if (!this.#isMissed) return;
      this.#isMissed = false;
      this.#look();
    });
  }
}
