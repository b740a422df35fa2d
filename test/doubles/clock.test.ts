/** The contract of a clock, on the machine's and on the one that tests move. */
import { describe } from 'vitest';
import { systemClock } from '@restitch/core';
import { VirtualClock } from '../../packages/access-point/src/testing/virtual-clock.js';
import { clockContract } from './clock-contract.js';

describe('the machine’s clock', () => {
  const pass = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
  clockContract(() => ({ clock: systemClock, pass }));
});

describe('the virtual clock', () => {
  clockContract(() => {
    const clock = new VirtualClock();
    return { clock, pass: (ms) => clock.advance(ms) };
  });
});
