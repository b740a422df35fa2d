/** How recent moves ended here, so that a request repeated after a lost answer is answered the same way. */

/** More than any batch of moves whose answers may be lost together. */
const maxFinished = 8192;

/** moveId → outcome, bounded, oldest forgotten first. */
export class FinishedMoves<Outcome extends string> {
  readonly #outcomes = new Map<string, Outcome>();

  set(moveId: string, outcome: Outcome): void {
    this.#outcomes.delete(moveId);
    this.#outcomes.set(moveId, outcome);
    if (this.#outcomes.size <= maxFinished) return;
    const oldest = this.#outcomes.keys().next().value;
    if (oldest !== undefined) this.#outcomes.delete(oldest);
  }

  get(moveId: string): Outcome | undefined {
    return this.#outcomes.get(moveId);
  }
}
