/** The configuration in force. Parts ask for it each time, so that a reload reaches all of them at once. */
import type { DaemonConfig } from '../config/index.js';

/** The schema's default weight: an endpoint that is not listed counts like one that is. */
const defaultWeight = 100;

/** One configuration after the other. */
export class CurrentConfig {
  #value: DaemonConfig;

  constructor(first: DaemonConfig) {
    this.#value = first;
  }

  get value(): DaemonConfig {
    return this.#value;
  }

  /** Goes on with `next`, which has been checked; returns the one before. */
  replace(next: DaemonConfig): DaemonConfig {
    const before = this.#value;
    this.#value = next;
    return before;
  }

  weightOf(name: string): number {
    return this.#value.endpoints.find((e) => e.name === name)?.weight ?? defaultWeight;
  }

  /** Whether an endpoint of that name, which its certificate gives it, may register. */
  mayJoin(name: string): boolean {
    return this.#value.registration === 'certificate' || this.#value.endpoints.some((e) => e.name === name);
  }
}
