/** Drains over the daemon's core, endpoints in memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DrainProgress } from './drain-progress.js';
import { testConfig } from '../testing/test-config.js';
import { World } from '../testing/world.js';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-drains-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function openWorld(sessions: number, more = ''): Promise<World> {
  const world = new World(testConfig(directory, more), ['a', 'b', 'c']);
  for (const name of ['a', 'b', 'c']) world.connect(name);
  await world.settle();
  for (let i = 0; i < sessions; i++) world.open('a');
  await world.settle();
  return world;
}

function start(world: World, deadlineMs = 60_000, onDeadline: 'wait' | 'force' | 'reset' = 'wait'): void {
  const { drains, endpoints } = world.core.state;
  drains.start(endpoints.require('a'), deadlineMs, onDeadline);
}

async function run(world: World, ms: number): Promise<void> {
  for (let t = 0; t < ms; t += 50) {
    await world.settle();
    await world.advance(50);
  }
  await world.settle();
}

function progress(world: World): DrainProgress {
  const found = world.core.state.drains.progressOf('a');
  if (found === undefined) throw new Error('no drain');
  return found;
}

describe('a drain', () => {
  it('moves every session away, spread over the others, and says so', async () => {
    const world = await openWorld(200);
    start(world);
    await run(world, 2000);
    expect(progress(world)).toMatchObject({
      state: 'drained',
      atStart: 200,
      moved: 200,
      left: 0,
      etaMs: 0,
      stuck: [],
    });
    expect(world.endpoint('b').copies.size).toBe(100);
    expect(world.endpoint('c').copies.size).toBe(100);
    expect(world.core.state.endpoints.require('a').state).toBe('drained');
  });

  it('keeps new flows away from the first moment, and undrain brings them back', async () => {
    const world = await openWorld(1);
    const backends = (): number[] => world.dataplane.services[0]?.backends.map((b) => b.endpointId) ?? [];
    start(world);
    expect(backends()).toEqual([2, 3]);
    await run(world, 500);
    world.core.state.drains.stop(world.core.state.endpoints.require('a'));
    expect(backends()).toEqual([1, 2, 3]);
    expect(world.core.state.drains.progressOf('a')).toBeUndefined();
    expect(world.core.state.endpoints.require('a').state).toBe('healthy');
  });

  it('names what is stuck and why, goes on trying, and succeeds when the reason is gone', async () => {
    const world = await openWorld(3);
    world.link('a')?.fromEndpoint({ t: 'pinned', id: 's2', reason: 'holds a lock' });
    await world.settle();
    start(world);
    await run(world, 1000);
    expect(progress(world)).toMatchObject({
      state: 'draining',
      left: 1,
      stuck: [
        {
          code: 'session_pinned',
          sessions: 1,
          example: { sessionId: 's2', reason: 'session s2 is pinned: holds a lock' },
        },
      ],
    });
    world.link('a')?.fromEndpoint({ t: 'pinned', id: 's2', reason: null });
    await run(world, 6000);
    expect(progress(world)).toMatchObject({ state: 'drained', moved: 3 });
  });

  it('takes up sessions that open while it runs, and counts those that end by themselves', async () => {
    const world = await openWorld(1);
    world.link('a')?.fromEndpoint({ t: 'pinned', id: 's1', reason: 'stays' });
    await world.settle();
    start(world);
    world.open('a');
    await run(world, 1000);
    world.endpoint('a').end('s1');
    await run(world, 500);
    expect(progress(world)).toMatchObject({ state: 'drained', moved: 1, ended: 1 });
  });

  it('goes on in the next daemon', async () => {
    const world = await openWorld(50);
    start(world);
    await world.settle();
    await world.restartDaemon();
    expect(progress(world)).toMatchObject({ state: 'draining', left: 0 });
    for (const name of ['a', 'b', 'c']) world.connect(name);
    await run(world, 3000);
    expect(progress(world).state).toBe('drained');
    expect(world.endpoint('a').copies.size).toBe(0);
    expect(world.endpoint('b').copies.size + world.endpoint('c').copies.size).toBe(50);
  });

  it('waits behind its deadline when that was asked for', async () => {
    const world = await openWorld(1);
    world.link('a')?.fromEndpoint({ t: 'pinned', id: 's1', reason: 'stays' });
    await world.settle();
    start(world, 300, 'wait');
    await run(world, 3000);
    expect(progress(world)).toMatchObject({ isDeadlinePassed: true, left: 1, state: 'draining' });
  });

  it('moves pinned sessions behind its deadline when force was asked for', async () => {
    const world = await openWorld(1);
    world.link('a')?.fromEndpoint({ t: 'pinned', id: 's1', reason: 'stays' });
    await world.settle();
    world.endpoint('a').pinned.add('s1');
    start(world, 300, 'force');
    await run(world, 200);
    expect(progress(world).left).toBe(1);
    await run(world, 6000);
    expect(progress(world)).toMatchObject({ state: 'drained', moved: 1 });
  });

  it('resets what is left behind its deadline when that was asked for', async () => {
    const world = await openWorld(2);
    world.link('a')?.fromEndpoint({ t: 'pinned', id: 's1', reason: 'stays' });
    await world.settle();
    start(world, 300, 'reset');
    await run(world, 2000);
    expect(progress(world)).toMatchObject({ state: 'drained', moved: 1, ended: 1 });
    expect(world.counters.get('drain_resets_total')).toBe(1);
  });
});
