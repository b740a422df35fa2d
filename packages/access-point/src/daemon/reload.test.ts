import { expect, it } from 'vitest';
import { assertReloadable } from './reload.js';
import { testConfig } from '../testing/test-config.js';

const before = testConfig('/tmp/x');

it('takes up what a running daemon can change', () => {
  const next = testConfig(
    '/tmp/x',
    'moves: {budget: 80ms}\nendpoints: [{name: a, weight: 5}]\nhealth: {heartbeat: 200ms}',
  );
  expect(() => assertReloadable(before, next)).not.toThrow();
});

it('refuses the whole when one part needs a restart, and names every such part', () => {
  const next = { ...testConfig('/tmp/y', 'flows: {max: 77}\nmoves: {budget: 80ms}'), interfaceName: 'eth9' };
  expect(() => assertReloadable(before, next)).toThrow(
    /interfaceName, stateDirectory, adminSocket, flows.maxFlows/,
  );
});
