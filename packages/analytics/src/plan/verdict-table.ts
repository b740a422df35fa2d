/**
 * Verdicts an endpoint can read in the middle of a request: should this session migrate, and where to? Pushed by the
 * coordinator with a generation and an expiry, read locally and synchronously; an expired verdict means stay, so a lost
 * coordinator never makes anything move.
 */

/** A verdict for one handle. */
export interface Verdict {
  readonly session: number;
  /** Endpoint index to go to. */
  readonly to: number;
}

/** Result of a push. */
export type PushResult = 'applied' | 'stale';

/** O(1) table over handles; 12 bytes each. */
export class VerdictTable {
  private readonly targets: Int32Array;
  private readonly expiries: Float64Array;
  private generation = -1;

  constructor(capacity: number) {
    this.targets = new Int32Array(capacity).fill(-1);
    this.expiries = new Float64Array(capacity);
  }

  /** Bytes held in all. */
  get byteLength(): number {
    return this.targets.byteLength + this.expiries.byteLength;
  }

  /**
   * Replaces verdicts. A generation not newer than the last is ignored as a whole: messages may overtake each other.
   * `expiresMs` is absolute, on the clock the reader uses. Handles outside the table are ignored.
   */
  push(generation: number, verdicts: readonly Verdict[], expiresMs: number): PushResult {
    if (!(generation > this.generation)) return 'stale';
    this.generation = generation;
    // A new generation is the whole truth: what it does not name stays.
    this.targets.fill(-1);
    for (const { session, to } of verdicts) {
      if (session < 0 || session >= this.targets.length) continue;
      this.targets[session] = to;
      this.expiries[session] = expiresMs;
    }
    return 'applied';
  }

  /** Whether the session should leave now. */
  shouldMigrate(session: number, nowMs: number): boolean {
    const target = this.targets[session];
    return target !== undefined && target >= 0 && nowMs < this.expiries[session]!;
  }

  /** Endpoint to go to, -1 for stay. */
  targetEndpoint(session: number, nowMs: number): number {
    return this.shouldMigrate(session, nowMs) ? this.targets[session]! : -1;
  }

  /** The session left, ended, or its move failed: it is served where it is. */
  clear(session: number): void {
    if (session >= 0 && session < this.targets.length) this.targets[session] = -1;
  }
}
