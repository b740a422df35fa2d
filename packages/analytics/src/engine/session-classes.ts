/** Which class each session is of: its weight, its labels and its thresholds, as columns of the planner. */
import type { ScoreClasses } from '../plan/fleet.js';
import type { SessionClass } from './engine-options.js';
import type { LabelBits } from './label-bits.js';
import { isWithin } from './places.js';
import type { SessionBook } from './session-book.js';

/** Class 0 has no name. */
const MAX_CLASSES = 255;

/** See the head of the file. */
export class SessionClasses {
  private readonly named: readonly { readonly name: string; readonly set: SessionClass }[];
  /** Class by listener and place: few pairs, many sessions. */
  private readonly found = new Map<string, number>();

  constructor(
    classes: Readonly<Record<string, SessionClass>>,
    private readonly labels: LabelBits,
  ) {
    this.named = Object.entries(classes)
      .slice(0, MAX_CLASSES)
      .map(([name, set]) => ({ name, set }));
  }

  /** Writes weight, labels and class of each session. */
  fill(sessions: SessionBook): void {
    if (this.named.length === 0) return;
    const { columns } = sessions.table;
    const masks = this.named.map(({ set }) => ({
      weight: set.weight ?? 1,
      require: this.labels.mask(set.require ?? {}),
      forbid: this.labels.mask(set.forbid ?? {}),
    }));
    for (let s = 0; s < sessions.span; s++) {
      const entry = sessions.entryOf(s);
      const c = entry === undefined ? 0 : this.classOf(entry.listener, entry.location);
      if (c === 0) continue;
      const set = masks[c - 1]!;
      columns.weight[s] = set.weight;
      columns.require[s] = set.require;
      columns.forbid[s] = set.forbid;
      columns.scoreClass[s] = c;
    }
  }

  /** Thresholds; undefined where no class has any. `relieving`: of the last plan, with `width` endpoints then. */
  columns(relieving: Uint8Array, width: number, count: number): ScoreClasses | undefined {
    if (this.named.every(({ set }) => set.enterScore === undefined)) return undefined;
    const classes = this.named.length + 1;
    const now = new Uint8Array(classes * count);
    for (let c = 0; c < classes; c++)
      for (let e = 0; e < Math.min(width, count); e++) now[c * count + e] = relieving[c * width + e] ?? 0;
    const column = (value: (set: SessionClass) => number | undefined): Float64Array =>
      Float64Array.from([Number.NaN, ...this.named.map(({ set }) => value(set) ?? Number.NaN)]);
    return {
      count: classes,
      enterScore: column((set) => set.enterScore),
      leaveScore: column((set) => set.leaveScore),
      relieving: now,
    };
  }

  /** 0 = none. */
  classOf(listener: string, location: string): number {
    const key = `${listener}\n${location}`;
    const known = this.found.get(key);
    if (known !== undefined) return known;
    const at = this.named.findIndex(({ name, set }) => {
      const isPlain = set.listener === undefined && set.location === undefined;
      const wanted = isPlain ? name : set.listener;
      if (wanted !== undefined && wanted !== listener) return false;
      return set.location === undefined || isWithin(location, set.location);
    });
    // Places come from outside: their number is not bounded.
    if (this.found.size < 10_000) this.found.set(key, at + 1);
    return at + 1;
  }
}
