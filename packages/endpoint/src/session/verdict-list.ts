/**
 * Verdicts an endpoint reads in the middle of a request: should this session migrate, and where to? Pushed with a generation
 * and an expiry, read locally, synchronously and in O(1); an expired verdict means stay, so a lost access point never makes
 * anything move. Pure; time comes in.
 */

/** One verdict: this session had better go there. @public */
export interface SessionVerdict {
  readonly session: string;
  readonly target: string;
}

/** A message, or one part of a list that was too long for a message. */
export interface VerdictPart {
  readonly generation: number;
  /** From its arrival on. */
  readonly expiresInMs: number;
  readonly verdicts: readonly SessionVerdict[];
  /** Ends the list: who is not named in it stays. */
  readonly complete: boolean;
}

/** Verdicts of one endpoint. */
export class VerdictList {
  #targets = new Map<string, string>();
  #expiresMs = Number.NEGATIVE_INFINITY;
  #generation = -1;
  #coming: { readonly generation: number; readonly targets: Map<string, string> } | undefined;

  /** Takes a part; a list counts when its last part is there. False for a generation that is not newer: parts may overtake. */
  push(part: VerdictPart, nowMs: number): boolean {
    if (part.generation <= this.#generation) return false;
    if (this.#coming?.generation !== part.generation) {
      if (this.#coming !== undefined && this.#coming.generation > part.generation) return false;
      this.#coming = { generation: part.generation, targets: new Map() };
    }
    const { targets } = this.#coming;
    for (const { session, target } of part.verdicts) targets.set(session, target);
    if (!part.complete) return true;
    this.#targets = targets;
    this.#generation = part.generation;
    this.#expiresMs = nowMs + part.expiresInMs;
    this.#coming = undefined;
    return true;
  }

  /** Where the session should go; undefined: it stays. */
  targetOf(session: string, nowMs: number): string | undefined {
    if (this.#targets.size === 0 || nowMs >= this.#expiresMs) return undefined;
    return this.#targets.get(session);
  }

  /** It left, ended, or its move came to nothing. */
  clear(session: string): void {
    this.#targets.delete(session);
  }

  /** Another connection: generations count anew. */
  reset(): void {
    this.#targets.clear();
    this.#generation = -1;
    this.#coming = undefined;
  }
}
