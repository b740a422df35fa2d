/** Small seeded randomness: a run that found something is run again from its seed alone. */

/** Draws of one seeded stream. */
export interface Random {
  /** 0 ≤ n < bound. */
  below(bound: number): number;
  pick<T>(list: readonly T[]): T;
  chance(ratio: number): boolean;
}

/** mulberry32: 32 bits of state are enough to choose mutations, and it is five lines. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x100000000;
  };
  const below = (bound: number): number => Math.floor(next() * bound);
  return {
    below,
    pick: (list) => list[below(list.length)] as never,
    chance: (ratio) => next() < ratio,
  };
}
