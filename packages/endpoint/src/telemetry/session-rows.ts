/**
 * Which sessions go into a message that has no room for all: those with most news first, and a part of the room for the
 * rest in turn, so that also a session without news is heard of.
 *
 * One pass over all sessions; the best are found by a threshold on the distribution of news, not by sorting.
 */
import type { TelemetryRow } from '@restitch/wire/internal';
import type { Session } from '../session/session.js';
import type { SessionUsage } from '../session/session-usage.js';

/** What a session is to this module. */
export type Counted = Pick<Session, 'id'> & { readonly usage: SessionUsage };

/** Share of the room that is kept for sessions in rotation. */
const rotationShare = 1 / 8;

/** Chooses rows; remembers whose turn it is. */
export class SessionRows {
  readonly #sessions: Iterable<Counted>;
  #turn: Iterator<Counted> | undefined;
  #news = new Float64Array(1024);

  /** `sessions`: a live Map's values or the like: iterating it again begins anew. */
  constructor(sessions: Iterable<Counted>) {
    this.#sessions = sessions;
  }

  /** At most `maxRows` rows. Sessions taken begin to count anew. */
  take(nowMs: number, maxRows: number): TelemetryRow[] {
    if (maxRows === 0) return [];
    const rotating = Math.ceil(maxRows * rotationShare);
    const rows = this.#takeNews(nowMs, maxRows - rotating);
    return this.#rotate(rows, nowMs, rotating);
  }

  #takeNews(nowMs: number, room: number): TelemetryRow[] {
    const count = this.#weigh(nowMs);
    const least = threshold(this.#news.subarray(0, count), room);
    const rows: TelemetryRow[] = [];
    let i = 0;
    for (const session of this.#sessions) {
      if (rows.length >= room) break;
      const news = this.#news[i++] ?? 0;
      if (news > 0 && news >= least) rows.push(toRow(session, nowMs));
    }
    return rows;
  }

  #weigh(nowMs: number): number {
    let count = 0;
    for (const session of this.#sessions) {
      if (count === this.#news.length) {
        const wider = new Float64Array(2 * count);
        wider.set(this.#news);
        this.#news = wider;
      }
      this.#news[count++] = session.usage.news(nowMs);
    }
    return count;
  }

  /** A Map's iterator sees what is added behind it and steps over what is removed: it is the turn itself. */
  #rotate(rows: TelemetryRow[], nowMs: number, count: number): TelemetryRow[] {
    const told = new Set(rows.map((row) => row[0]));
    let isFresh = this.#turn === undefined;
    for (let n = 0; n < count; ) {
      this.#turn ??= this.#sessions[Symbol.iterator]();
      const next = this.#turn.next();
      if (next.done === true) {
        this.#turn = undefined;
        if (isFresh) break;
        isFresh = true;
        continue;
      }
      n++;
      if (told.has(next.value.id)) continue;
      told.add(next.value.id);
      rows.push(toRow(next.value, nowMs));
    }
    return rows;
  }
}

function toRow(session: Counted, nowMs: number): TelemetryRow {
  const { requests, bytesIn, bytesOut, periodMs } = session.usage.take(nowMs);
  return [session.id, 0, Math.round(periodMs), requests, bytesIn, bytesOut];
}

/** The value of rank `room` from above; 0 if all fit. */
function threshold(news: Float64Array, room: number): number {
  let positive = 0;
  for (const value of news) if (value > 0) positive++;
  if (positive <= room) return 0;
  return Float64Array.from(news).sort()[news.length - room] ?? 0;
}
