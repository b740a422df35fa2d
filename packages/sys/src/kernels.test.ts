import { expect, it } from 'vitest';
import { isKernelAtLeast, oldestKernel, triedKernels } from './kernels.js';

it.each([
  ['6.1.0-57-amd64', true],
  ['6.12.117+deb12-cloud-amd64', true],
  ['7.0.0-rc1', true],
  ['10.0', true],
  ['6.0.19', false],
  ['5.17.0', false],
  ['5.101.0', false],
  ['nonsense', false],
])('%s is of the oldest kernel or later: %s', (release, expected) => {
  expect(isKernelAtLeast(release, '6.1')).toBe(expected);
});

it('the oldest kernel is the first of those that were tried, in order', () => {
  expect(oldestKernel).toBe(triedKernels[0]);
  for (let i = 1; i < triedKernels.length; i++) {
    expect(isKernelAtLeast(triedKernels[i] ?? '', triedKernels[i - 1] ?? '')).toBe(true);
  }
});
