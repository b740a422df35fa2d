import { RestitchError } from '@restitch/core';
import { describe, expect, it } from 'vitest';
import { Redial } from './redial.js';

const silence = new RestitchError('deadline_exceeded', 'no answer');
const refused = new RestitchError('peer_lost', 'ECONNREFUSED', { details: { reason: 'nobody_listens' } });
const pausesOf = (redial: Redial, reason: unknown, n: number): number[] =>
  Array.from({ length: n }, () => redial.pauseMs(reason));

describe('redial', () => {
  it('doubles its pauses up to the longest', () => {
    const redial = new Redial({ firstMs: 50, longestMs: 2000, random: () => 1 });
    expect(pausesOf(redial, silence, 8)).toEqual([50, 100, 200, 400, 800, 1600, 2000, 2000]);
  });

  it('begins anew once the other side was reached', () => {
    const redial = new Redial({ firstMs: 50, longestMs: 2000, random: () => 1 });
    pausesOf(redial, silence, 5);
    redial.reached();
    expect(redial.pauseMs(undefined)).toBe(50);
  });

  it('does not wait long for a party whose host says that it is not there', () => {
    const redial = new Redial({ firstMs: 50, longestMs: 2000, random: () => 1 });
    expect(pausesOf(redial, refused, 6)).toEqual([50, 100, 200, 200, 200, 200]);
    expect(pausesOf(redial, silence, 3)).toEqual([400, 800, 1600]);
    expect(redial.pauseMs(refused)).toBe(200);
  });

  it('spreads a pause over its second half', () => {
    expect(new Redial({ firstMs: 100, longestMs: 100, random: () => 0 }).pauseMs(silence)).toBe(50);
  });
});
