/**
 * How often clients of a prefix end their sessions by a reset: a rate a second of session life, decayed, and the probability
 * of one within a horizon. A prefix with few endings is unknown; one with some leans on what everybody does.
 */

/** Endings of its own before anything is said of a prefix. */
const MIN_ENDINGS = 20;
/** Endings of everybody that count as much as one's own. */
const SHARED_COUNT = 10;
/** About the last 200 endings count. */
const DECAY = 0.995;

interface Tally {
  endings: number;
  seconds: number;
  resets: number;
}

/** Bounded; the prefix that was not heard of for longest is forgotten first. */
export class ClientResets {
  private readonly tallies = new Map<string, Tally>();
  private readonly all: Tally = { endings: 0, seconds: 0, resets: 0 };

  constructor(private readonly maxPrefixes = 10_000) {}

  /** A session of `prefix` ended after `lifeS`, by its client's reset or otherwise. */
  ended(prefix: string, lifeS: number, isReset: boolean): void {
    if (!(lifeS > 0) || !Number.isFinite(lifeS)) return;
    for (const tally of [this.touch(prefix), this.all]) {
      tally.endings = tally.endings * DECAY + 1;
      tally.seconds = tally.seconds * DECAY + lifeS;
      tally.resets = tally.resets * DECAY + (isReset ? 1 : 0);
    }
  }

  /** Probability that a session of the prefix is reset by its client within `horizonS`; NaN = unknown. */
  risk(prefix: string, horizonS: number): number {
    const own = this.tallies.get(prefix);
    if (own === undefined || own.endings < MIN_ENDINGS) return Number.NaN;
    const { all } = this;
    const share = SHARED_COUNT / all.endings;
    const rate = (own.resets + share * all.resets) / (own.seconds + share * all.seconds);
    return 1 - Math.exp(-rate * horizonS);
  }

  /** Forgets a prefix at once. */
  erase(prefix: string): void {
    this.tallies.delete(prefix);
  }

  private touch(prefix: string): Tally {
    const tally = this.tallies.get(prefix) ?? { endings: 0, seconds: 0, resets: 0 };
    this.tallies.delete(prefix);
    this.tallies.set(prefix, tally);
    if (this.tallies.size > this.maxPrefixes) {
      for (const oldest of this.tallies.keys()) {
        this.tallies.delete(oldest);
        break;
      }
    }
    return tally;
  }
}
