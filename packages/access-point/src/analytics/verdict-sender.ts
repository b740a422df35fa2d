/** Verdicts to endpoints, in messages of bounded size that carry one generation; and taken back without the engine. */
import type { VerdictsOutput } from '@restitch/analytics';
import { maxVerdicts } from '@restitch/wire/internal';
import type { EndpointRegistry } from '../model/endpoint-registry.js';

/** See the head of the file. */
export class VerdictSender {
  /** Generation last told, by endpoint. */
  readonly #told = new Map<string, number>();
  readonly #endpoints: EndpointRegistry;

  constructor(endpoints: EndpointRegistry) {
    this.#endpoints = endpoints;
  }

  /** Sends a list; an endpoint that is not connected learns nothing, and what it knew expires. */
  send({ endpoint, generation, expiresInMs, verdicts }: Omit<VerdictsOutput, 'kind'>): void {
    const link = this.#endpoints.byName(endpoint)?.link;
    if (link === undefined) return;
    if (verdicts.length === 0) this.#told.delete(endpoint);
    else this.#told.set(endpoint, generation);
    let from = 0;
    do {
      const part = verdicts.slice(from, from + maxVerdicts);
      from += maxVerdicts;
      const complete = from >= verdicts.length;
      link.tell({ t: 'verdicts', generation, expiresInMs, verdicts: part, complete });
    } while (from < verdicts.length);
  }

  /** Everybody who was told something hears that all stay. Engines count generations by milliseconds: theirs come later. */
  retract(): void {
    for (const [endpoint, generation] of [...this.#told])
      this.send({ endpoint, generation: generation + 1, expiresInMs: 0, verdicts: [] });
  }
}
