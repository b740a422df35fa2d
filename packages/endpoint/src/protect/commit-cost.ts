/** What protection costs a session and its endpoint, in figures a person can read: bytes, delays, memory at the buddy. */

/** Two order statistics, milliseconds; 0 before anything was seen. */
export interface DelayFigures {
  readonly p50: number;
  readonly p99: number;
}

/** The cost of one protected session. */
export interface ReplicationCost {
  readonly buddy: string | null;
  /** Commits that its buddy has acknowledged, in this ownership. */
  readonly commits: number;
  /** Sent to buddies in this ownership. */
  readonly replicatedBytes: number;
  /** What its buddy keeps for it, by the owner's reckoning. */
  readonly keptBytes: number;
  /** From a commit being made to the buddy's word. */
  readonly commitDelayMs: DelayFigures;
  /** How long output waited between the application and the socket. */
  readonly addedLatencyMs: DelayFigures;
}

const bucketsPerOctave = 3;
/** From 1 µs to 2^24 µs, 17 s. */
const buckets = 24 * bucketsPerOctave;
const fullBucket = 0xffff;

/** Delays in 144 bytes, to 26 %; when a bucket is full all are halved, so that what is new weighs more. */
export class DelayLog {
  readonly #counts = new Uint16Array(buckets);

  add(delayMs: number): void {
    const octaves = Math.log2(Math.max(1, delayMs * 1000));
    const at = Math.min(buckets - 1, Math.ceil(octaves * bucketsPerOctave));
    if (this.#counts[at] === fullBucket) this.#counts.forEach((n, i) => (this.#counts[i] = n >> 1));
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }

  get figures(): DelayFigures {
    return { p50: this.#quantile(0.5), p99: this.#quantile(0.99) };
  }

  /** Upper edge of the bucket, milliseconds to the microsecond. */
  #quantile(q: number): number {
    const total = this.#counts.reduce((sum, n) => sum + n, 0);
    if (total === 0) return 0;
    let left = Math.ceil(total * q);
    const at = this.#counts.findIndex((n) => (left -= n) <= 0);
    return Math.round(2 ** (at / bucketsPerOctave)) / 1000;
  }
}

/** Delays and bytes of an endpoint: all its sessions together. */
export class EndpointCost {
  readonly commitDelay = new DelayLog();
  readonly addedLatency = new DelayLog();
  replicatedBytes = 0;

  /** As gauges of a heartbeat; delays in microseconds. */
  get gauges(): Record<string, number> {
    const commit = this.commitDelay.figures;
    const added = this.addedLatency.figures;
    return {
      endpoint_replicated_bytes: this.replicatedBytes,
      endpoint_commit_delay_p50_us: commit.p50 * 1000,
      endpoint_commit_delay_p99_us: commit.p99 * 1000,
      endpoint_added_latency_p50_us: added.p50 * 1000,
      endpoint_added_latency_p99_us: added.p99 * 1000,
    };
  }
}

/** Commits of one session that are under way, and what became of the others. */
export class SessionCost {
  readonly #endpoint: EndpointCost;
  readonly #commitDelay = new DelayLog();
  readonly #addedLatency = new DelayLog();
  #underWay: Array<{ readonly n: number; readonly atMs: number; readonly outputAtMs: number | undefined }> =
    [];
  #outputAtMs: number | undefined;
  #countedBytes = 0;

  constructor(endpoint: EndpointCost) {
    this.#endpoint = endpoint;
  }

  get delays(): Pick<ReplicationCost, 'commitDelayMs' | 'addedLatencyMs'> {
    return { commitDelayMs: this.#commitDelay.figures, addedLatencyMs: this.#addedLatency.figures };
  }

  /** The application wrote; what it wrote first waits longest. */
  produced(nowMs: number): void {
    this.#outputAtMs ??= nowMs;
  }

  /** `allBytes`: of all commits up to this one, with those that had to be sent again. */
  made(commit: { readonly n: number; readonly allBytes: number }, nowMs: number): void {
    this.#endpoint.replicatedBytes += commit.allBytes - this.#countedBytes;
    this.#countedBytes = commit.allBytes;
    this.#underWay.push({ n: commit.n, atMs: nowMs, outputAtMs: this.#outputAtMs });
    this.#outputAtMs = undefined;
  }

  /** The buddy has everything up to commit `n`. */
  acknowledged(n: number, nowMs: number): void {
    for (let first = this.#underWay[0]; first !== undefined && first.n <= n; first = this.#underWay[0]) {
      this.#underWay.shift();
      for (const log of [this.#commitDelay, this.#endpoint.commitDelay]) log.add(nowMs - first.atMs);
      if (first.outputAtMs === undefined) continue;
      for (const log of [this.#addedLatency, this.#endpoint.addedLatency]) log.add(nowMs - first.outputAtMs);
    }
  }
}
