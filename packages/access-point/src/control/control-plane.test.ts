/** What endpoints say and what the records and the index say afterwards. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { testConfig } from '../testing/test-config.js';
import { World, flowOf } from '../testing/world.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-control-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function openWorld(more = ''): Promise<World> {
  const world = new World(testConfig(directory, more), ['a', 'b']);
  for (const name of ['a', 'b']) world.connect(name);
  await world.settle();
  return world;
}

async function migrate(world: World, sessionId: string): Promise<void> {
  world.core.state.coordinator.request({ sessionId, origin: 'manual' }, () => undefined);
  await world.settle();
}

describe('a flow that is used again', () => {
  it('gets a record of its own, even when the new session is told before the end of the old one', async () => {
    const world = await openWorld();
    const id = world.open('a');
    await world.settle();
    await migrate(world, id);
    expect(world.recordOf(id)).toEqual({ name: 'b', epoch: 1, phase: 'active' });
    world.endpoint('b').copies.delete(id);
    world.endpoint('b').open('again', flowOf(1));
    world.link('b')?.fromEndpoint({
      t: 'ended',
      sessions: [{ id, flow: flowOf(1), epoch: 1, reason: 'closed' }],
    });
    await world.settle();
    expect(world.recordOf(id)).toEqual({ name: 'b', epoch: 0, phase: 'active' });
    expect(world.core.state.sessions.byId(id)).toBeUndefined();
    await migrate(world, 'again');
    expect(world.core.state.sessions.byId('again')?.owner.name).toBe('a');
  });
});

describe('an endpoint', () => {
  it('cannot speak for another', async () => {
    const world = await openWorld();
    const link = world.link('a');
    world.cut('a');
    world.connect('a');
    const fresh = world.link('a');
    expect(fresh).not.toBe(link);
    const hello = fresh?.toAccessPoint[0];
    if (hello?.t !== 'hello') throw new Error('no hello');
    Object.assign(hello, { name: 'b' });
    await world.settle();
    expect(fresh?.isOpenHere).toBe(false);
    expect(world.counters.get('control_wrong_name_total')).toBe(1);
  });

  it('cannot end or pin sessions of another', async () => {
    const world = await openWorld();
    const id = world.open('a');
    await world.settle();
    world.link('b')?.fromEndpoint({ t: 'ended', sessions: [{ id, flow: flowOf(1), epoch: 0, reason: 'x' }] });
    world.link('b')?.fromEndpoint({ t: 'pinned', id, reason: 'x' });
    await world.settle();
    expect(world.core.state.sessions.byId(id)?.pinned).toBeUndefined();
    expect(world.recordOf(id)?.phase).toBe('active');
  });

  it('that answers what was not asked is disconnected', async () => {
    const world = await openWorld();
    world.link('a')?.fromEndpoint({ t: 'reply', re: 77, ok: true, data: {} });
    await world.settle();
    expect(world.link('a')?.isOpenHere).toBe(false);
  });

  it('that is not listed may not join where only listed ones may', async () => {
    const world = await openWorld('registration: listed\nendpoints: [{name: a}]');
    expect(world.core.state.endpoints.byName('b')?.link).toBeUndefined();
    expect(world.counters.get('control_not_listed_total')).toBeGreaterThan(0);
  });
});

describe('liveness', () => {
  it('a silent endpoint gets no new flows, is down later, and its sessions stay where they are', async () => {
    const world = await openWorld('health: {heartbeat: 500ms, suspectAfter: 2s, deadAfter: 6s}');
    const id = world.open('a');
    await world.settle();
    const beat = async (ms: number): Promise<void> => {
      for (let t = 0; t < ms; t += 500) {
        world.link('b')?.fromEndpoint({ t: 'heartbeat', n: 1, sessions: 0, eventLoopDelayMs: 0 });
        await world.settle();
        await world.clock.advance(500);
      }
    };
    const ids = (): number[] => world.dataplane.services[0]?.backends.map((b) => b.endpointId) ?? [];
    expect(ids()).toEqual([1, 2]);
    await beat(3000);
    expect(world.core.state.endpoints.byName('a')?.liveness).toBe('suspect');
    expect(ids()).toEqual([2]);
    await beat(5000);
    expect(world.core.state.endpoints.byName('a')?.liveness).toBe('down');
    expect(world.recordOf(id)).toEqual({ name: 'a', epoch: 0, phase: 'active' });
  });

  it('when all are suspect, new flows go on as before', async () => {
    const world = await openWorld();
    world.cut('a');
    world.cut('b');
    expect(world.dataplane.services[0]?.backends.map((b) => b.endpointId)).toEqual([1, 2]);
  });
});

describe('new maps', () => {
  it('steer nothing unknown before the known endpoints have announced, and then do', async () => {
    const world = new World(testConfig(directory), ['a', 'b']);
    expect(world.dataplane.isRebuilding).toBe(true);
    world.connect('a');
    await world.settle();
    expect(world.dataplane.isRebuilding).toBe(true);
    world.connect('b');
    await world.settle();
    expect(world.dataplane.isRebuilding).toBe(false);
  });

  it('wait no longer than the grace', async () => {
    const world = new World(testConfig(directory, 'rebuildGrace: 3s'), ['a', 'b']);
    world.connect('a');
    await world.settle();
    await world.clock.advance(3001);
    expect(world.dataplane.isRebuilding).toBe(false);
  });

  it('are filled from what endpoints announce, the highest epoch wins', async () => {
    const world = await openWorld();
    const id = world.open('a');
    await world.settle();
    await migrate(world, id);
    world.dataplane.records.clear();
    await world.restartDaemon();
    world.dataplane.isAdopted = false;
    for (const name of ['a', 'b']) world.connect(name);
    await world.settle();
    expect(world.recordOf(id)).toEqual({ name: 'b', epoch: 1, phase: 'active' });
  });
});
