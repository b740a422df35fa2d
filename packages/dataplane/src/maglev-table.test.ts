import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { maglevSize } from './layout.js';
import { buildMaglevTable } from './maglev-table.js';
import type { MaglevBackend } from './maglev-table.js';

const equal = (ids: readonly number[]): MaglevBackend[] =>
  ids.map((endpointId) => ({ endpointId, weight: 1 }));

function countSlots(table: Uint32Array): Map<number, number> {
  const counts = new Map<number, number>();
  for (const id of table) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

/** Share of slots that changed although their endpoint stayed. */
function extraDisruption(before: Uint32Array, after: Uint32Array, left: number): number {
  let moved = 0;
  for (let i = 0; i < before.length; i++) if (before[i] !== left && before[i] !== after[i]) moved += 1;
  return moved / before.length;
}

const distinctIds = (count: number): fc.Arbitrary<number[]> =>
  fc.uniqueArray(fc.integer({ min: 1, max: 4095 }), { minLength: count, maxLength: count });

describe('Maglev table', () => {
  it('moves at most 1 % more slots than it must when one of 100 endpoints leaves', () => {
    fc.assert(
      fc.property(distinctIds(100), fc.nat(99), (ids, at) => {
        const left = ids[at] ?? 0;
        const before = buildMaglevTable(equal(ids), maglevSize);
        const after = buildMaglevTable(equal(ids.filter((id) => id !== left)), maglevSize);
        expect(extraDisruption(before, after, left)).toBeLessThanOrEqual(0.01);
      }),
      { numRuns: 20 },
    );
  });

  it('gives every endpoint its weight of the slots, within one round', () => {
    const weights = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(weights, (list) => {
        const backends = list.map((weight, i) => ({ endpointId: i + 1, weight }));
        const counts = countSlots(buildMaglevTable(backends, maglevSize));
        const total = list.reduce((sum, weight) => sum + weight, 0);
        for (const { endpointId, weight } of backends) {
          const share = (counts.get(endpointId) ?? 0) / maglevSize;
          expect(Math.abs(share - weight / total)).toBeLessThan(0.001);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('does not depend on the order of the endpoints', () => {
    fc.assert(
      fc.property(distinctIds(10), (ids) => {
        const there = buildMaglevTable(equal(ids), 251);
        expect(buildMaglevTable(equal([...ids].reverse()), 251)).toEqual(there);
      }),
    );
  });

  it('is empty without endpoints and refuses a weight that is not positive', () => {
    expect(buildMaglevTable([], maglevSize)).toHaveLength(0);
    expect(() => buildMaglevTable([{ endpointId: 1, weight: 0 }], 251)).toThrow('weight 0 of endpoint 1');
  });
});
