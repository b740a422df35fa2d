import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../seeded-random.js';
import { IdIndex } from './id-index.js';
import { chooseItems } from './knapsack.js';
import { ReservationBook } from './reservation-book.js';
import { SessionTable, type TelemetryBatch } from './session-table.js';

describe('id index', () => {
  it('behaves as a map under any sequence of operations', () => {
    const half = fc.integer({ min: 0, max: 3 });
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            op: fc.constantFrom('set', 'delete', 'get'),
            high: half,
            low: half,
            value: fc.nat(99),
          }),
          {
            maxLength: 300,
          },
        ),
        (script) => {
          const index = new IdIndex(1);
          const model = new Map<string, number>();
          for (const { op, high, low, value } of script) {
            const key = `${high}/${low}`;
            if (op === 'set') {
              index.set(high, low, value);
              model.set(key, value);
            } else if (op === 'delete') expect(index.delete(high, low)).toBe(model.delete(key));
            else expect(index.get(high, low)).toBe(model.get(key) ?? -1);
            expect(index.size).toBe(model.size);
          }
        },
      ),
    );
  });

  it('grows and still finds everything, with ids over the whole range', () => {
    const random = createRandom(1);
    const index = new IdIndex();
    const ids = Array.from({ length: 20_000 }, () =>
      [random() * 2 ** 32, random() * 2 ** 32].map(Math.floor),
    );
    ids.forEach(([high, low], i) => index.set(high!, low!, i));
    ids.forEach(([high, low], i) => expect(index.get(high!, low!)).toBe(i));
    expect(index.byteLength / 20_000).toBeLessThan(40);
  });
});

describe('reservation book', () => {
  it('never gives more than the capacity, whoever asks with whatever stale view', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            load: fc.double({ min: 0, max: 4, noNaN: true }),
            gapMs: fc.nat(50),
            drop: fc.boolean(),
          }),
          {
            maxLength: 60,
          },
        ),
        (asks) => {
          const book = new ReservationBook(10);
          let nowMs = 0;
          for (const { load, gapMs, drop } of asks) {
            nowMs += gapMs;
            const result = book.reserve(load, 3, nowMs, 100);
            if (result.outcome === 'reserved' && drop) book.release(result.id);
            expect(3 + book.reserved(nowMs)).toBeLessThanOrEqual(10 + 1e-9);
          }
          expect(book.reserved(nowMs + 100)).toBe(0);
        },
      ),
    );
  });

  it('refuses loads that are not numbers', () => {
    expect(new ReservationBook(10).reserve(Number.NaN, 0, 0, 100).outcome).toBe('refused');
  });
});

function batchOf(
  records: { s: number; e: number; at: number; requests: number; bytes: number }[],
): TelemetryBatch {
  return {
    count: records.length,
    session: Int32Array.from(records, (r) => r.s),
    endpoint: Int32Array.from(records, (r) => r.e),
    takenMs: Float64Array.from(records, (r) => r.at),
    requests: Float64Array.from(records, (r) => r.requests),
    bytes: Float64Array.from(records, (r) => r.bytes),
    imageBytes: Float32Array.from(records, () => 1_000),
  };
}

describe('session telemetry', () => {
  it('turns counters into rates, and arrival into residence', () => {
    const table = new SessionTable(4);
    for (let t = 0; t <= 60; t++) {
      table.fold(batchOf([{ s: 1, e: 2, at: t * 1_000, requests: 5 * t, bytes: 100 * t }]), 0.01, 0);
    }
    expect(table.requestsPerSec[1]).toBeCloseTo(5, 3);
    expect(table.columns.load[1]).toBeCloseTo(0.05, 4);
    expect(table.columns.residenceS[1]).toBe(60);
    expect(table.ageMs(1, 61_000)).toBe(1_000);
    table.fold(batchOf([{ s: 1, e: 3, at: 61_000, requests: 305, bytes: 6_100 }]), 0.01, 0);
    expect(table.columns.residenceS[1]).toBe(0);
  });

  it('takes the first figure of a session as it stands', () => {
    const table = new SessionTable(2);
    table.fold(batchOf([{ s: 0, e: 0, at: 1_000, requests: 0, bytes: 0 }]), 0.01, 0);
    table.fold(batchOf([{ s: 0, e: 0, at: 2_000, requests: 8, bytes: 640 }]), 0.01, 0);
    expect(table.requestsPerSec[0]).toBe(8);
    table.fold(batchOf([{ s: 0, e: 0, at: 3_000, requests: 8, bytes: 640 }]), 0.01, 0);
    expect(table.requestsPerSec[0]).toBeCloseTo(6.4, 5);
  });

  it('gives the same whatever the order within a period', () => {
    const random = createRandom(2);
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const shuffle = createRandom(seed);
        const records = Array.from({ length: 40 }, (_, i) => ({
          s: i,
          e: i % 3,
          at: 1_000 + Math.floor(random() * 500),
          requests: Math.floor(random() * 50),
          bytes: Math.floor(random() * 5_000),
        }));
        const later = records.map((r) => ({
          ...r,
          at: r.at + 1_000,
          requests: r.requests + 7,
          bytes: r.bytes + 99,
        }));
        const once = new SessionTable(40);
        const twice = new SessionTable(40);
        for (const period of [records, later]) {
          once.fold(batchOf(period), 0.01, 1e-6);
          twice.fold(batchOf([...period].sort(() => shuffle() - 0.5)), 0.01, 1e-6);
        }
        expect(twice.columns).toEqual(once.columns);
      }),
      { numRuns: 30 },
    );
  });

  it('has defined results for NaN, negative, late, repeated and unknown records, and restarted counters', () => {
    const table = new SessionTable(2);
    const good = { s: 0, e: 0, at: 1_000, requests: 10, bytes: 10 };
    const bad = [
      { ...good, requests: Number.NaN },
      { ...good, bytes: -1 },
      { ...good, at: Number.POSITIVE_INFINITY },
      { ...good, s: 7 },
      { ...good, s: -1 },
    ];
    expect(table.fold(batchOf(bad), 1, 0)).toEqual({ folded: 0, refused: 5, late: 0 });
    expect(table.fold(batchOf([good, good, { ...good, at: 500 }]), 1, 0)).toEqual({
      folded: 1,
      refused: 0,
      late: 2,
    });
    table.fold(batchOf([{ ...good, at: 2_000, requests: 20 }]), 1, 0);
    const rate = table.requestsPerSec[0];
    expect(rate).toBeGreaterThan(0);
    table.fold(batchOf([{ ...good, at: 3_000, requests: 1 }]), 1, 0);
    expect(table.requestsPerSec[0]).toBe(rate);
    table.remove(0);
    expect(table.columns.endpoint[0]).toBe(-1);
    expect(table.ageMs(0, 5_000)).toBeNaN();
  });
});

describe('knapsack', () => {
  it('is the best choice but for the rounding of loads, and never too heavy', () => {
    const item = fc.record({
      value: fc.integer({ min: -5, max: 50 }),
      load: fc.integer({ min: 1, max: 30 }),
    });
    fc.assert(
      fc.property(fc.array(item, { maxLength: 12 }), fc.integer({ min: 1, max: 80 }), (items, capacity) => {
        const values = Float64Array.from(items, (i) => i.value);
        const loads = Float64Array.from(items, (i) => i.load);
        const chosen = chooseItems(values, loads, capacity);
        const sum = (of: Float64Array, ids: readonly number[]) => ids.reduce((total, i) => total + of[i]!, 0);
        expect(sum(loads, chosen)).toBeLessThanOrEqual(capacity + 1e-9);
        let best = 0;
        for (let mask = 0; mask < 2 ** items.length; mask++) {
          const ids = items.flatMap((_, i) => ((mask >> i) & 1 ? [i] : []));
          // Loads are rounded up to 1/10,000 of the capacity, so only an exact fit may be missed.
          if (sum(loads, ids) <= capacity * (1 - items.length / 10_000))
            best = Math.max(best, sum(values, ids));
        }
        expect(sum(values, chosen)).toBeGreaterThanOrEqual(best - 1e-9);
      }),
      { numRuns: 60 },
    );
  });
});
