/** The sweep against real maps; what it promises to the rest is test/integration/dataplane/half-open-contract.ts. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { encodeFlowKey, flowKeyBytes } from '@restitch/core';
import { deleteElements, lookupElement, updateElement } from '@restitch/sys/internal';
import { forgetHalfOpenOf } from './half-open.js';
import { halfOpenValueLayout } from './layout.js';
import { loadPinned, removePins } from './pins.js';
import type { LoadedPrograms } from './pins.js';
import { useBpfDirectory } from '../../../test/bpf-directory.js';

const pinDirectory = `${useBpfDirectory()}/pins`;
let programs: LoadedPrograms;

beforeAll(() => {
  programs = loadPinned(pinDirectory, { maxFlows: 100, maxHalfOpen: 65_536 });
});

afterAll(() => {
  for (const fd of [...Object.values(programs.maps), programs.steer, programs.reenter, programs.control])
    fd.close();
  removePins(pinDirectory);
});

function keyOf(n: number): Buffer {
  const key = Buffer.alloc(flowKeyBytes);
  const client = { address: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, port: 1000 };
  encodeFlowKey({ client, vip: { address: '10.9.0.100', port: 7000 } }, key);
  return key;
}

function put(n: number, endpointId: number): void {
  const value = Buffer.alloc(halfOpenValueLayout.sizeBytes);
  value.writeUInt32LE(endpointId, halfOpenValueLayout.endpoint);
  updateElement(programs.maps.half_open.value, keyOf(n), value);
}

const isThere = (n: number): boolean =>
  lookupElement(programs.maps.half_open.value, keyOf(n), Buffer.alloc(halfOpenValueLayout.sizeBytes));

it('deletes a batch past keys that are not there any more', () => {
  for (const n of [1, 3, 5]) put(n, 7);
  const keys = Buffer.concat([0, 1, 2, 3, 4].map(keyOf));
  const own = Buffer.alloc(keys.length);
  keys.copy(own);
  expect(deleteElements(programs.maps.half_open.value, own, flowKeyBytes, 5)).toBe(2);
  expect([1, 3, 5].map(isThere)).toEqual([false, false, true]);
});

it('takes milliseconds for as many as the table holds', () => {
  for (let n = 100; n < 40_100; n++) put(n, n % 2 === 0 ? 8 : 9);
  const beganMs = performance.now();
  const forgotten = forgetHalfOpenOf(programs.maps.half_open.value, 8);
  const tookMs = performance.now() - beganMs;
  // The LRU may have thrown some out before the table is full.
  expect(forgotten).toBeGreaterThan(15_000);
  expect(forgetHalfOpenOf(programs.maps.half_open.value, 8)).toBe(0);
  expect(isThere(40_099)).toBe(true);
  expect(tookMs).toBeLessThan(500);
  console.log(`forgot ${forgotten} of 40,000 half-open entries in ${tookMs.toFixed(1)} ms`);
});
