/** What the laboratory and the driver of phase clients (a process in the client's namespace) say to each other. */
import type { LifeKind, LifeRecord, MomentKind, StandingKind } from './life-kinds.js';
import type { LifePlan } from './life-plan.js';

/** A place for one client after another. */
export interface LifeSlot {
  readonly kind: StandingKind;
  /** Unique in the run; its connections add their number. */
  readonly tag: string;
  readonly address: string;
  readonly port: number;
  /** In place of what its seed says. */
  readonly plan?: Partial<LifePlan>;
}

/** A connection to be made once. */
export interface LifeVisit {
  readonly kind: MomentKind;
  readonly tag: string;
  readonly address: string;
  readonly port: number;
}

/** A client that is connected now. */
export interface SeenLife {
  readonly kind: LifeKind;
  readonly localPort: number;
  readonly isInPhase: boolean;
}

/** Laboratory → driver. */
export type ToLifeDriver =
  /** Clients in these slots from now on. */
  | { readonly t: 'keep'; readonly slots: readonly LifeSlot[]; readonly seed: number }
  /** Connects at `atMs`, spread over `spreadMs` from there; at once if it has passed. */
  | {
      readonly t: 'visit';
      readonly visits: readonly LifeVisit[];
      readonly atMs: number;
      readonly spreadMs: number;
      readonly seed: number;
    }
  /** Answer with `seen`, after all visits are connected or `withinMs` have passed. */
  | { readonly t: 'look'; readonly withinMs: number }
  /** Nobody is renewed any more, who stands goes on; report after all are over or `drainMs`. */
  | { readonly t: 'finish'; readonly drainMs: number };

/** Driver → laboratory. */
export type FromLifeDriver =
  | { readonly t: 'started' }
  | { readonly t: 'failed'; readonly message: string }
  | { readonly t: 'seen'; readonly lives: readonly SeenLife[]; readonly longestOwedMs: number }
  | { readonly t: 'records'; readonly records: readonly LifeRecord[] };
