/**
 * What is known of a client's past by its prefix: how long its sessions live, and its demand by hour. Decayed, bounded,
 * erasable; plain numbers only, so that it can be stored and read back. What a prefix has not shown is borrowed from all.
 */

/** Life bins: sessions ending within 1, 2, 4, … 2^18 s (three days). */
const BINS = 19;
const HOURS = 24;
/** A new ending weighs as much as this share of all before: about the last 200 count. */
const DECAY = 0.995;
/** Endings of everybody that count as much as one's own, for a prefix with few. */
const SHARED_COUNT = 10;
const UNKNOWN_LIFE_S = 60;

/** One prefix. */
interface Past {
  /** Decayed counts of endings by life, and the decayed sum of seconds in each bin. */
  readonly endings: Float64Array;
  readonly seconds: Float64Array;
  /** Decayed mean of requests and bytes a second by hour of day. */
  readonly requests: Float64Array;
  readonly bytes: Float64Array;
}

/** As stored. */
export interface StoredHistory {
  readonly version: 1;
  readonly prefixes: readonly (readonly [string, readonly number[]])[];
}

/** Bounded history over prefixes; the least recently used is forgotten first. */
export class ClientHistory {
  private readonly pasts = new Map<string, Past>();
  private readonly all = emptyPast();

  constructor(private readonly maxPrefixes = 10_000) {}

  /** A session of `prefix` ended after `lifeS`. Lives that are not a positive number are ignored. */
  sessionEnded(prefix: string, lifeS: number): void {
    if (!(lifeS > 0) || !Number.isFinite(lifeS)) return;
    for (const past of [this.touch(prefix), this.all]) {
      for (let b = 0; b < BINS; b++) {
        past.endings[b] = past.endings[b]! * DECAY;
        past.seconds[b] = past.seconds[b]! * DECAY;
      }
      const bin = binOf(lifeS);
      past.endings[bin] = past.endings[bin]! + 1;
      past.seconds[bin] = past.seconds[bin]! + lifeS;
    }
  }

  /** Demand of a session of `prefix` seen in this hour of day. */
  demandSeen(prefix: string, hour: number, requestsPerSec: number, bytesPerSec: number): void {
    if (!(requestsPerSec >= 0 && bytesPerSec >= 0)) return;
    for (const past of [this.touch(prefix), this.all]) {
      past.requests[hour % HOURS] = past.requests[hour % HOURS]! * 0.95 + requestsPerSec * 0.05;
      past.bytes[hour % HOURS] = past.bytes[hour % HOURS]! * 0.95 + bytesPerSec * 0.05;
    }
  }

  /** Usual requests a second of one of its sessions in an hour of day. */
  usualRequests(prefix: string, hour: number): number {
    return (this.pasts.get(prefix) ?? this.all).requests[hour % HOURS]!;
  }

  /**
   * Expected remaining life of a session that is `ageS` old: the mean of what longer-lived sessions had left. Beyond all that
   * was seen, as long again as it has lived (what has lasted lasts).
   */
  expectedRemainingS(prefix: string, ageS: number): number {
    const own = this.pasts.get(prefix);
    const age = Math.max(0, ageS);
    let weight = 0;
    let sum = 0;
    const ownCount = own === undefined ? 0 : total(own.endings);
    const sharedCount = total(this.all.endings);
    const shared = sharedCount > 0 ? SHARED_COUNT / (sharedCount * (1 + ownCount / SHARED_COUNT)) : 0;
    for (let b = 0; b < BINS; b++) {
      const count = (own?.endings[b] ?? 0) + shared * this.all.endings[b]!;
      if (count <= 0) continue;
      const seconds = (own?.seconds[b] ?? 0) + shared * this.all.seconds[b]!;
      const left = seconds / count - age;
      if (left <= 0) continue;
      weight += count;
      sum += count * left;
    }
    if (weight > 1e-6) return sum / weight;
    return Math.max(UNKNOWN_LIFE_S, age);
  }

  /** Forgets a prefix at once. */
  erase(prefix: string): boolean {
    return this.pasts.delete(prefix);
  }

  /** Prefixes remembered. */
  get size(): number {
    return this.pasts.size;
  }

  /** All prefixes, least recently used first; for storing them one at a time. */
  prefixes(): IterableIterator<string> {
    return this.pasts.keys();
  }

  /** Numbers stored for each prefix. */
  readonly width = 2 * (BINS + HOURS);

  /** One prefix' numbers as `store` has them; '' is everybody. */
  numbersOf(prefix: string): readonly number[] | undefined {
    const past = prefix === '' ? this.all : this.pasts.get(prefix);
    return past && [...past.endings, ...past.seconds, ...past.requests, ...past.bytes];
  }

  /** Everything, as plain numbers. */
  store(): StoredHistory {
    const names = ['', ...this.pasts.keys()];
    return { version: 1, prefixes: names.map((p) => [p, this.numbersOf(p) ?? []] as const) };
  }

  /** Reads what `store` gave; `undefined` for anything else: the caller starts cold and says so. */
  static restore(stored: unknown, maxPrefixes = 10_000): ClientHistory | undefined {
    if (!isStored(stored)) return undefined;
    const history = new ClientHistory(maxPrefixes);
    for (const [prefix, numbers] of stored.prefixes) {
      const past = prefix === '' ? history.all : history.touch(prefix);
      past.endings.set(numbers.slice(0, BINS));
      past.seconds.set(numbers.slice(BINS, 2 * BINS));
      past.requests.set(numbers.slice(2 * BINS, 2 * BINS + HOURS));
      past.bytes.set(numbers.slice(2 * BINS + HOURS));
    }
    return history;
  }

  private touch(prefix: string): Past {
    const past = this.pasts.get(prefix) ?? emptyPast();
    this.pasts.delete(prefix);
    this.pasts.set(prefix, past);
    if (this.pasts.size > this.maxPrefixes) {
      for (const oldest of this.pasts.keys()) {
        this.pasts.delete(oldest);
        break;
      }
    }
    return past;
  }
}

function emptyPast(): Past {
  return {
    endings: new Float64Array(BINS),
    seconds: new Float64Array(BINS),
    requests: new Float64Array(HOURS),
    bytes: new Float64Array(HOURS),
  };
}

function binOf(lifeS: number): number {
  return Math.max(0, Math.min(BINS - 1, Math.ceil(Math.log2(lifeS))));
}

function total(values: Float64Array): number {
  return values.reduce((sum, v) => sum + v, 0);
}

function isStored(value: unknown): value is StoredHistory {
  if (typeof value !== 'object' || value === null) return false;
  const { version, prefixes } = value as Partial<StoredHistory>;
  return (
    version === 1 &&
    Array.isArray(prefixes) &&
    prefixes.every(
      (entry: unknown) =>
        Array.isArray(entry) &&
        typeof entry[0] === 'string' &&
        Array.isArray(entry[1]) &&
        entry[1].length === 2 * (BINS + HOURS) &&
        entry[1].every((n: unknown) => typeof n === 'number' && Number.isFinite(n)),
    )
  );
}
