/**
 * How often clients of a prefix end their sessions by a reset, by the age of the session: resets against all seconds that sessions,
 * ended or open, have lived at that age (a life table with constant hazard a bin), decayed. So thousands of connections that end
 * by RST after 30 ms say nothing of one that is ten minutes old. A prefix with few endings is unknown; one with some leans on what
 * everybody does.
 * Source: Kalbfleisch & Prentice, "The Statistical Analysis of Failure Time Data", 2002, ch. 1 (piecewise exponential).
 */

/** Endings of its own before anything is said of a prefix. */
const MIN_ENDINGS = 20;
/** Endings of everybody that count as much as one's own. */
const SHARED_COUNT = 10;
/** About the last 200 endings that came to an age count there. */
const DECAY = 0.995;
/** Ages: up to 1/16 s, 1/8 s, … 2^18 s (three days), and beyond. */
const BINS = 24;
const FIRST_AGE_S = 1 / 16;

interface Tally {
  endings: number;
  /** By age. */
  readonly seconds: Float64Array;
  readonly resets: Float64Array;
}

/** Bounded; the prefix that was not heard of for longest is forgotten first. */
export class ClientResets {
  private readonly tallies = new Map<string, Tally>();
  private readonly all = emptyTally();

  constructor(private readonly maxPrefixes = 10_000) {}

  /**
   * A session of `prefix` ended after `lifeS`, by its client's reset or otherwise. `sinceS`: of its life, what `lived` has not been
   * told of yet.
   */
  ended(prefix: string, lifeS: number, isReset: boolean, sinceS = lifeS): void {
    if (!(lifeS > 0) || !Number.isFinite(lifeS)) return;
    this.lived(prefix, lifeS, sinceS);
    const last = binOf(lifeS);
    for (const tally of [this.touch(prefix), this.all]) {
      tally.endings = tally.endings * DECAY + 1;
      for (let b = 0; b <= last; b++) {
        tally.seconds[b] = tally.seconds[b]! * DECAY;
        tally.resets[b] = tally.resets[b]! * DECAY;
      }
      if (isReset) tally.resets[last] = tally.resets[last]! + 1;
    }
  }

  /** A session of `prefix` that is `ageS` old now has lived on for the last `sinceS`. */
  lived(prefix: string, ageS: number, sinceS: number): void {
    if (!(ageS > 0 && sinceS > 0) || !Number.isFinite(ageS)) return;
    const own = this.touch(prefix);
    let from = Math.max(0, ageS - sinceS);
    for (let b = binOf(from); from < ageS; b++) {
      const to = Math.min(ageS, endOf(b));
      own.seconds[b] = own.seconds[b]! + (to - from);
      this.all.seconds[b] = this.all.seconds[b]! + (to - from);
      from = to;
    }
  }

  /** Probability that a session of the prefix that is `ageS` old is reset by its client within `horizonS`; NaN = unknown. */
  risk(prefix: string, ageS: number, horizonS: number): number {
    const own = this.tallies.get(prefix);
    if (own === undefined || own.endings < MIN_ENDINGS) return Number.NaN;
    const { all } = this;
    const share = SHARED_COUNT / all.endings;
    let hazard = 0;
    const end = ageS + horizonS;
    let from = Math.max(0, ageS);
    for (let b = binOf(from); from < end; b++) {
      const to = Math.min(end, endOf(b));
      const seconds = own.seconds[b]! + share * all.seconds[b]!;
      if (seconds > 0) hazard += ((own.resets[b]! + share * all.resets[b]!) / seconds) * (to - from);
      from = to;
    }
    return 1 - Math.exp(-hazard);
  }

  /** Forgets a prefix at once. */
  erase(prefix: string): void {
    this.tallies.delete(prefix);
  }

  private touch(prefix: string): Tally {
    const tally = this.tallies.get(prefix) ?? emptyTally();
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

function emptyTally(): Tally {
  return { endings: 0, seconds: new Float64Array(BINS), resets: new Float64Array(BINS) };
}

/** The bin of age `ageS`: from its beginning on, up to before its end. */
function binOf(ageS: number): number {
  return ageS < FIRST_AGE_S ? 0 : Math.min(BINS - 1, 1 + Math.floor(Math.log2(ageS / FIRST_AGE_S)));
}

function endOf(bin: number): number {
  return bin === BINS - 1 ? Number.POSITIVE_INFINITY : FIRST_AGE_S * 2 ** bin;
}
