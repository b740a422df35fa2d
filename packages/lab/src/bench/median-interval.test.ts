import { expect, it } from 'vitest';
import { medianInterval } from './median-interval.js';

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => n - i);

it('takes the ranks of the tables (Conover, Practical Nonparametric Statistics)', () => {
  expect(medianInterval(upTo(6))).toEqual({ median: 3.5, low: 1, high: 6 });
  expect(medianInterval(upTo(10))).toEqual({ median: 5.5, low: 2, high: 9 });
  expect(medianInterval(upTo(15))).toEqual({ median: 8, low: 4, high: 12 });
  expect(medianInterval(upTo(25))).toEqual({ median: 13, low: 8, high: 18 });
});

it('refuses fewer than 6 values', () => {
  expect(() => medianInterval(upTo(5))).toThrow('needs 6');
});
