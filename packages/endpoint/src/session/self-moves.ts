/**
 * Moves a session asks for itself at its safe point: verdicts pushed by the access point, and the request that follows one.
 * If nothing comes of it, the request is served where it is; so every way to fail ends in an answer, not in an error.
 */
import { type Clock } from '@restitch/core';
import { VerdictList, type VerdictPart } from './verdict-list.js';
import type { FromEndpoint } from '@restitch/wire/internal';
import type { Session } from './session.js';

/** What came of `session.migrate()`. */
export type MigrateOutcome =
  /** Served by another endpoint from now on: this object is closed, do not answer with it. */
  | { readonly outcome: 'moved'; readonly target: string }
  /** Still here: serve the request. */
  | { readonly outcome: 'stayed'; readonly reason: string };

/** How to ask. */
export interface MigrateOptions {
  /** Where to; the verdict's target without it, and without a verdict the access point chooses. */
  readonly target?: string;
  /** After so long the answer is `stayed`; the move may still happen later. Default 5 s. */
  readonly timeoutMs?: number;
}

const defaultTimeoutMs = 5000;

interface Asked {
  readonly session: Session;
  readonly done: (outcome: MigrateOutcome) => void;
}

/** What it works with. */
export interface SelfMovesDeps {
  readonly clock: Clock;
  readonly tell: (message: Extract<FromEndpoint, { t: 'wants-move' }>) => void;
  readonly isConnected: () => boolean;
}

/** Verdicts and questions of one endpoint. */
export class SelfMoves {
  readonly #deps: SelfMovesDeps;
  readonly #verdicts = new VerdictList();
  readonly #asked = new Map<number, Asked>();
  #count = 0;

  constructor(deps: SelfMovesDeps) {
    this.#deps = deps;
  }

  /** A message of the access point. */
  push(part: VerdictPart): void {
    this.#verdicts.push(part, this.#deps.clock.monotonicMs());
  }

  /** Where the session should go now; undefined: it stays. */
  targetOf(session: Session): string | undefined {
    return this.#verdicts.targetOf(session.id, this.#deps.clock.monotonicMs());
  }

  /** Asks the access point to move the session. Never rejects. */
  ask(session: Session, options: MigrateOptions = {}): Promise<MigrateOutcome> {
    const { clock, tell, isConnected } = this.#deps;
    const verdict = this.targetOf(session);
    const target = options.target ?? verdict;
    if (session.phase !== 'live')
      return Promise.resolve({ outcome: 'stayed', reason: 'the session is not live' });
    if (!isConnected())
      return Promise.resolve({ outcome: 'stayed', reason: 'the access point is not connected' });
    this.#count = (this.#count + 1) >>> 0;
    const n = this.#count;
    return new Promise((resolve) => {
      const onClose = (): void => finish(endOf(session));
      const finish = (outcome: MigrateOutcome): void => {
        cancel();
        session.off('close', onClose);
        if (this.#asked.delete(n)) {
          this.#verdicts.clear(session.id);
          resolve(outcome);
        }
      };
      const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
      const cancel = clock.after(timeoutMs, () =>
        finish({ outcome: 'stayed', reason: `no answer in ${timeoutMs} ms` }),
      );
      session.once('close', onClose);
      this.#asked.set(n, { session, done: finish });
      const byVerdict = options.target === undefined && verdict !== undefined;
      tell({ t: 'wants-move', n, id: session.id, byVerdict, ...(target === undefined ? {} : { target }) });
    });
  }

  /** The access point says what came of a question. A committed move closes the session by itself. */
  answered(n: number, outcome: string, reason: string): void {
    if (outcome !== 'committed') this.#asked.get(n)?.done({ outcome: 'stayed', reason });
  }

  /** The connection is gone: nothing is known any more, and a frozen session will say so itself. */
  linkLost(): void {
    this.#verdicts.reset();
    for (const { session, done } of [...this.#asked.values()])
      if (session.phase === 'live') done({ outcome: 'stayed', reason: 'the access point was lost' });
  }
}

function endOf(session: Session): MigrateOutcome {
  const { movedTo } = session;
  return movedTo === undefined
    ? { outcome: 'stayed', reason: 'the session has ended' }
    : { outcome: 'moved', target: movedTo };
}
