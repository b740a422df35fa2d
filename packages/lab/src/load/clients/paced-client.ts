/** A line client that comes, asks at a rate that changes with time, and leaves: the traffic that forecasts are tried on. */
import type { ClientPace, ClientSpec } from './driver-messages.js';
import { LineClient } from './line-client.js';
import { createRandom } from '../seeded-random.js';

/** While the rate is nought, the client looks again this often. */
const idleStepMs = 50;

/** A client whose requests follow `spec.pace`. */
export class PacedClient extends LineClient {
  readonly #pace: ClientPace;
  readonly #random: () => number;

  constructor(spec: ClientSpec & { readonly pace: ClientPace }) {
    super(spec);
    this.#pace = spec.pace;
    this.#random = createRandom(spec.pace.seed);
  }

  /** Its last request has been answered and it has no more to send. */
  isOver(nowMs: number): boolean {
    return nowMs >= (this.#pace.closeAtMs ?? Number.POSITIVE_INFINITY) && (this.isDrained || !this.isOpen);
  }

  /** Sets the first request, a random part of a period after the client's beginning. */
  begin(): void {
    this.schedule(this.#after(this.#pace.openAtMs, this.#random()));
  }

  /** Three to five quarters of the period, so that clients do not march in step. */
  protected override nextDueMs(): number {
    return this.#after(this.dueMs, 0.75 + 0.5 * this.#random());
  }

  #after(fromMs: number, periods: number): number {
    const endMs = this.#pace.closeAtMs ?? Number.POSITIVE_INFINITY;
    const lastMs = this.#pace.rate.at(-1)?.[0] ?? fromMs;
    let atMs = fromMs;
    while (rateAt(this.#pace.rate, atMs) <= 0 && atMs < lastMs) atMs += idleStepMs;
    const perSec = rateAt(this.#pace.rate, atMs);
    const dueMs = perSec > 0 ? atMs + (periods * 1000) / perSec : Number.POSITIVE_INFINITY;
    return dueMs < endMs ? dueMs : Number.POSITIVE_INFINITY;
  }
}

/** Requests a second at an instant; before the first and after the last corner as there. */
export function rateAt(corners: ClientPace['rate'], atMs: number): number {
  let before = corners[0] ?? ([0, 0] as const);
  if (atMs <= before[0]) return before[1];
  for (const corner of corners) {
    if (corner[0] > atMs) {
      const part = (atMs - before[0]) / (corner[0] - before[0]);
      return before[1] + part * (corner[1] - before[1]);
    }
    before = corner;
  }
  return before[1];
}
