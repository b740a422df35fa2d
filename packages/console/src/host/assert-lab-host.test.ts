import { release } from 'node:os';
import { expect, test } from 'vitest';
import { assertLabHost } from './assert-lab-host.js';
import { createHostFacts } from './host-facts.js';

const facts = createHostFacts(release());

test('a host that has everything passes', async () => {
  await expect(assertLabHost(facts)).resolves.toBeUndefined();
});

test('an ordinary user is told in one sentence what to do', async () => {
  await expect(assertLabHost(facts, 1000)).rejects.toMatchObject({
    code: 'unsupported_host',
    message: expect.stringMatching(/not root.*sudo$/),
  });
});

test('a kernel that is too old is named with its remedy, and more is pointed at', async () => {
  const old = { ...facts, kernelRelease: '4.19.0', nodeVersion: '18.0.0' };
  await expect(assertLabHost(old, 0)).rejects.toMatchObject({
    code: 'unsupported_host',
    message: expect.stringMatching(/kernel 6\.1 or newer.*update the kernel.*1 more/),
  });
});
