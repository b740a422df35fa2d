/** What came of each death, for people and the laboratory; figures that clients decide are filled in as they answer. */
import type { Counters, Logger } from '@restitch/core';
import type { DeathReason } from '@restitch/guard/internal';
import type { Loss } from './lost-sessions.js';

/** One take-over of all sessions of a dead endpoint process. */
export interface TakeOverRecord {
  readonly endpoint: string;
  readonly reason: DeathReason;
  /** It had said that it would leave: no crash. */
  readonly isLeaving: boolean;
  /** From the last word of the process to its sessions being given away. */
  readonly detectMs: number;
  /** Until the last session was served again, or given up. */
  readonly doneMs: number;
  readonly taken: number;
  /** Nobody had them, and their clients had not been served to the end. */
  readonly lost: number;
  /** Nobody had them, and their clients were through. */
  readonly ended: number;
  /** Their applications had ended them, and the kernel of their host delivers the rest. */
  readonly finishing: number;
  /** Connections that no application had accepted. */
  readonly bare: number;
}

const keptRecords = 200;

/** The last ones. */
export class TakeOverRecords {
  readonly all: TakeOverRecord[] = [];
  readonly #counters: Counters;
  readonly #logger: Logger;

  constructor(counters: Counters, logger: Logger) {
    this.#counters = counters;
    this.#logger = logger;
  }

  /** Adds one whose given up sessions count as lost until their clients say otherwise. */
  add(made: Omit<TakeOverRecord, 'lost' | 'ended'>, losses: ReadonlyArray<Promise<Loss>>): void {
    const record = { ...made, lost: losses.length, ended: 0 };
    this.all.push(record);
    if (this.all.length > keptRecords) this.all.shift();
    for (const loss of losses) {
      void loss.then((what) => {
        if (what === 'lost') return;
        record.lost--;
        record.ended++;
      });
    }
    this.#counters.add(made.isLeaving ? 'protection_leaves_total' : 'protection_take_overs_total');
    this.#counters.add('protection_sessions_taken_total', made.taken);
    if (made.isLeaving) this.#logger.info({ ...record }, 'an endpoint has left; what it left was given away');
    else this.#logger.warn({ ...record }, 'sessions of a dead endpoint were taken over');
  }
}
