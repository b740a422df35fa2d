/** The agents of endpoint hosts: each speaks for the host of the endpoint whose certificate it has. */
import type { Clock } from '@restitch/core';
import type { EndpointLink } from '../model/endpoint-link.js';

/** Who speaks for which host, and when it was heard. */
export class HostAgents {
  readonly #clock: Clock;
  readonly #links = new Map<string, EndpointLink>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** An agent has said hello on `link`. */
  joined(name: string, link: EndpointLink): void {
    this.#links.set(name, link);
  }

  /** CLOCK_MONOTONIC milliseconds; 0 if there never was one. */
  heardAtMs(name: string): number {
    return this.#links.get(name)?.lastHeardMs ?? 0;
  }

  /** True if it is connected and has said something within that time: then its host and its kernel run. */
  isHeard(name: string, withinMs: number): boolean {
    const link = this.#links.get(name);
    if (link === undefined || link.isClosed) return false;
    return this.#clock.monotonicMs() - link.lastHeardMs <= withinMs;
  }
}
