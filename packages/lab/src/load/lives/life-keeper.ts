/** Keeps a client in each slot, renews those that are over, and opens visitors when it is told to. */
import { monotonicMs } from '../clients/monotonic.js';
import { createRandom } from '../seeded-random.js';
import type { ClientLife } from './client-life.js';
import { createLife } from './create-life.js';
import type { LifeRecord } from './life-kinds.js';
import type { LifeSlot, LifeVisit, SeenLife } from './life-messages.js';
import { planLife } from './life-plan.js';

interface Place {
  readonly slot: LifeSlot;
  life: ClientLife | undefined;
  turn: number;
  nextAtMs: number;
}

interface Appointment {
  readonly visit: LifeVisit;
  readonly atMs: number;
  readonly seed: number;
}

/** All clients of one driver. */
export class LifeKeeper {
  readonly #places: Place[] = [];
  #appointments: Appointment[] = [];
  readonly #visitors: ClientLife[] = [];
  readonly #records: LifeRecord[] = [];
  #seed = 0;
  #isFinishing = false;

  /** Clients in these slots from now on. */
  keep(slots: readonly LifeSlot[], seed: number): void {
    this.#seed = seed;
    // Not all at once: a listen backlog is one thing to try, and not this one.
    const spreadMs = Math.min(1000, slots.length * 5);
    slots.forEach((slot, i) => {
      const nextAtMs = monotonicMs() + (i * spreadMs) / slots.length;
      this.#places.push({ slot, life: undefined, turn: 0, nextAtMs });
    });
  }

  /** Visitors at `atMs` and in the `spreadMs` after it. */
  appoint(visits: readonly LifeVisit[], atMs: number, options: { spreadMs: number; seed: number }): void {
    const random = createRandom(options.seed);
    for (const visit of visits)
      this.#appointments.push({ visit, atMs: atMs + random() * options.spreadMs, seed: options.seed });
  }

  /** True when no visitor is still to connect. */
  get haveVisitorsConnected(): boolean {
    return this.#appointments.length === 0 && this.#visitors.every((v) => v.isConnected || v.isOver);
  }

  /** Those that are there. */
  look(): SeenLife[] {
    return this.#lives().map(({ kind, localPort, isInPhase }) => ({ kind, localPort, isInPhase }));
  }

  /** The longest that any has been owed something now. */
  longestOwedMs(): number {
    const nowMs = monotonicMs();
    return this.#lives().reduce((longest, life) => Math.max(longest, life.owedMs(nowMs)), 0);
  }

  /** Steps all of them. */
  step(): void {
    const nowMs = monotonicMs();
    const due = this.#appointments.filter((a) => a.atMs <= nowMs);
    this.#appointments = this.#appointments.filter((a) => a.atMs > nowMs);
    for (const { visit, seed } of due) this.#visitors.push(this.#create(visit, 0, seed));
    for (const place of this.#places) this.#stepPlace(place, nowMs);
    for (let i = this.#visitors.length - 1; i >= 0; i--) {
      const visitor = this.#visitors[i];
      visitor?.step();
      if (visitor?.isOver !== true) continue;
      this.#records.push(visitor.record());
      this.#visitors.splice(i, 1);
    }
  }

  /** Nobody is renewed any more, and who stands goes on. */
  hurry(): void {
    this.#isFinishing = true;
  }

  get isEmpty(): boolean {
    return this.#lives().length + this.#appointments.length === 0;
  }

  /** Everything that was, also what is not over. */
  finish(): LifeRecord[] {
    const left = this.#lives();
    for (const life of left) life.giveUp();
    const records = [...this.#records, ...left.map((life) => life.record())];
    this.#places.length = 0;
    this.#visitors.length = 0;
    this.#records.length = 0;
    this.#appointments = [];
    this.#isFinishing = false;
    return records;
  }

  #lives(): ClientLife[] {
    return [...this.#places.flatMap((p) => (p.life === undefined ? [] : [p.life])), ...this.#visitors];
  }

  #stepPlace(place: Place, nowMs: number): void {
    if (place.life === undefined) {
      if (this.#isFinishing || nowMs < place.nextAtMs) return;
      place.life = this.#create(place.slot, place.turn++, this.#seed);
    }
    place.life.step();
    if (!place.life.isOver) return;
    this.#records.push(place.life.record());
    place.life = undefined;
    place.nextAtMs = nowMs + planLife(place.slot.kind, place.slot.tag, place.turn, this.#seed).restMs;
  }

  #create(slot: LifeSlot | LifeVisit, turn: number, seed: number): ClientLife {
    const own = 'plan' in slot ? slot.plan : {};
    return createLife({
      kind: slot.kind,
      tag: `${slot.tag}.${turn}`,
      address: slot.address,
      port: slot.port,
      plan: { ...planLife(slot.kind, slot.tag, turn, seed), ...own },
      isHurried: () => this.#isFinishing,
    });
  }
}
