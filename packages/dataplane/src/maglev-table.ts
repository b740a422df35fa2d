/**
 * Maglev's lookup table (Eisenbud et al., NSDI 2016, §3.4), with weights: endpoints take turns claiming the next free
 * slot of their own permutation, as many turns a round as their weight asks for. Pure; the same input gives the same table.
 *
 * The permutation depends on the endpoint's id alone, so that one endpoint's leaving hardly moves the others' slots.
 */
import { RestitchError } from '@restitch/core';

/** An endpoint that takes new flows. */
export interface MaglevBackend {
  readonly endpointId: number;
  /** Positive; relative to the others. */
  readonly weight: number;
}

/** Table of `size` (a prime) endpoint ids. Empty backends give an empty table. Throws `usage` for a bad weight. */
export function buildMaglevTable(backends: readonly MaglevBackend[], size: number): Uint32Array {
  const bad = backends.find((b) => !(b.weight > 0) || !Number.isFinite(b.weight));
  if (bad !== undefined)
    throw new RestitchError('usage', `weight ${bad.weight} of endpoint ${bad.endpointId} is not positive`);
  if (backends.length === 0) return new Uint32Array(0);
  const sorted = [...backends].sort((a, b) => a.endpointId - b.endpointId);
  const heaviest = Math.max(...sorted.map((b) => b.weight));
  const walkers = sorted.map((b) => createWalker(b.endpointId, size));
  const shares = sorted.map((b) => b.weight / heaviest);
  const credit = shares.map(() => 0);
  const table = new Uint32Array(size);
  const isTaken = new Uint8Array(size);
  for (let filled = 0; ; ) {
    for (let i = 0; i < sorted.length; i++) {
      credit[i] = (credit[i] ?? 0) + (shares[i] ?? 0);
      if ((credit[i] ?? 0) < 1) continue;
      credit[i] = (credit[i] ?? 0) - 1;
      const slot = nextFree(walkers[i] as Walker, isTaken, size);
      isTaken[slot] = 1;
      table[slot] = (sorted[i] as MaglevBackend).endpointId;
      filled += 1;
      if (filled === size) return table;
    }
  }
}

interface Walker {
  at: number;
  readonly skip: number;
}

function createWalker(endpointId: number, size: number): Walker {
  return { at: mix(endpointId, 0x9e3779b9) % size, skip: (mix(endpointId, 0x85ebca6b) % (size - 1)) + 1 };
}

function nextFree(walker: Walker, isTaken: Uint8Array, size: number): number {
  for (;;) {
    const slot = walker.at;
    walker.at = (walker.at + walker.skip) % size;
    if (isTaken[slot] === 0) return slot;
  }
}

/** murmur3's finaliser: ids count up from 1 and must not give neighbouring permutations. */
function mix(value: number, seed: number): number {
  let h = (value ^ seed) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
