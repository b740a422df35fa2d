/**
 * The target's own book of reservations, the only authority on its room: several planners with stale views may promise the
 * same place, the book gives it once. Pure; time comes in.
 */

/** Outcome of a request. */
export type ReserveResult =
  | { readonly outcome: 'reserved'; readonly id: number }
  | { readonly outcome: 'refused'; readonly room: number };

interface Reservation {
  readonly load: number;
  readonly expiresMs: number;
}

/** Book of one endpoint. */
export class ReservationBook {
  private readonly open = new Map<number, Reservation>();
  private nextId = 1;

  /** `capacity`: load it may be filled to. */
  constructor(private readonly capacity: number) {}

  /** Asks for room on top of `presentLoad`; a reservation ends by `release` or when it expires. */
  reserve(load: number, presentLoad: number, nowMs: number, ttlMs: number): ReserveResult {
    const room = this.capacity - presentLoad - this.reserved(nowMs);
    if (!(load >= 0) || load > room) return { outcome: 'refused', room: Math.max(0, room) };
    const id = this.nextId++;
    this.open.set(id, { load, expiresMs: nowMs + ttlMs });
    return { outcome: 'reserved', id };
  }

  /** The session arrived (its load now shows) or the move was given up. Idempotent. */
  release(id: number): void {
    this.open.delete(id);
  }

  /** Load reserved now; expired reservations are dropped. */
  reserved(nowMs: number): number {
    let sum = 0;
    for (const [id, { load, expiresMs }] of this.open) {
      if (expiresMs <= nowMs) this.open.delete(id);
      else sum += load;
    }
    return sum;
  }
}
