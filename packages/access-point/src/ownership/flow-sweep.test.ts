/** The idle sweep asks before it closes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatFlow } from '@restitch/core';
import { afterAll, expect, it } from 'vitest';
import { testConfig } from '../testing/test-config.js';
import { World, flowOf } from '../testing/world.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-sweep-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const config = 'flows: {idleAfter: 60s, sweepInterval: 10s}\nhealth: {suspectAfter: 2s, deadAfter: 4s}';

async function openWorld(): Promise<World> {
  const world = new World(testConfig(directory, config), ['a']);
  world.connect('a');
  await world.settle();
  return world;
}

async function pass(world: World, ms: number): Promise<void> {
  for (let t = 0; t < ms; t += 1000) {
    await world.advance(1000);
    await world.settle();
  }
}

it('leaves an idle flow that its owner still has', async () => {
  const world = await openWorld();
  const id = world.open('a');
  await world.settle();
  await pass(world, 100_000);
  expect(world.recordOf(id)?.phase).toBe('active');
  expect(world.core.state.sessions.byId(id)).toBeDefined();
});

it('closes an idle flow that its owner does not have any more', async () => {
  const world = await openWorld();
  const id = world.open('a');
  await world.settle();
  world.endpoint('a').copies.delete(id);
  await pass(world, 50_000);
  expect(world.recordOf(id)?.phase).toBe('active');
  await pass(world, 30_000);
  expect(world.recordOf(id)?.phase).toBe('closing');
  expect(world.core.state.sessions.byId(id)).toBeUndefined();
});

it('asks at once about a flow whose client has sent a reset', async () => {
  const world = await openWorld();
  const id = world.open('a');
  await world.settle();
  world.endpoint('a').copies.delete(id);
  const record = world.dataplane.records.get(formatFlow(flowOf(1)));
  if (record !== undefined) record.sawReset = true;
  await pass(world, 12_000);
  expect(world.recordOf(id)?.phase).toBe('closing');
});

it('closes a record that a move left frozen when the owner does not have the session any more', async () => {
  const world = await openWorld();
  const id = world.open('a');
  await world.settle();
  world.endpoint('a').copies.delete(id);
  const record = world.dataplane.records.get(formatFlow(flowOf(1)));
  if (record !== undefined) record.phase = 'frozen';
  await pass(world, 80_000);
  expect(world.recordOf(id)?.phase).toBe('closing');
});

it('does not close a flow that moved while its owner was asked', async () => {
  const world = await openWorld();
  const id = world.open('a');
  await world.settle();
  world.endpoint('a').copies.delete(id);
  const session = world.core.state.sessions.byId(id);
  if (session !== undefined) session.epoch = 7;
  await pass(world, 80_000);
  expect(world.core.state.sessions.byId(id)).toBeDefined();
});

it('closes an idle flow nobody can answer for, and no sooner', async () => {
  const world = await openWorld();
  const id = world.open('a');
  await world.settle();
  world.cut('a');
  await pass(world, 50_000);
  expect(world.recordOf(id)?.phase).toBe('active');
  await pass(world, 30_000);
  expect(world.recordOf(id)?.phase).toBe('closing');
});
