/** A session whose application has ended it stays a session until its owner says that its connection is over. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatFlow } from '@restitch/core';
import type { EngineInput } from '@restitch/analytics';
import type { ToEndpoint } from '@restitch/wire/internal';
import { afterAll, describe, expect, it } from 'vitest';
import { FleetTeller } from '../analytics/fleet-teller.js';
import { createInputHub } from '../analytics/input-hub.js';
import { testConfig } from '../testing/test-config.js';
import { settleMicrotasks } from '../testing/virtual-clock.js';
import { World, flowOf } from '../testing/world.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-closing-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const idle = 'flows: {idleAfter: 10s, sweepInterval: 1s}\nhealth: {suspectAfter: 2s, deadAfter: 4s}';

async function openWorld(more = ''): Promise<{ world: World; id: string }> {
  const world = new World(testConfig(directory, more), ['a', 'b']);
  for (const name of ['a', 'b']) world.connect(name);
  await world.settle();
  const id = world.open('a');
  await world.settle();
  world.endpoint('a').close(id, 5000);
  await world.settle();
  return { world, id };
}

async function pass(world: World, ms: number): Promise<void> {
  for (let t = 0; t < ms; t += 1000) {
    await world.advance(1000);
    await world.settle();
  }
}

const closingOf = (world: World, id: string): unknown => world.core.state.sessions.byId(id)?.closing;

describe('a closing session', () => {
  it('is one until its end is told, and its bytes are what was told last', async () => {
    const { world, id } = await openWorld();
    expect(closingOf(world, id)).toEqual({ tailBytes: 5000, finisher: 'successor' });
    world.endpoint('a').close(id, 1);
    await world.settle();
    expect(closingOf(world, id)).toMatchObject({ tailBytes: 1 });
    expect(world.recordOf(id)?.phase).toBe('active');
    world.endpoint('a').end(id);
    await world.settle();
    expect(world.core.state.sessions.byId(id)).toBeUndefined();
    expect(world.recordOf(id)?.phase).toBe('closing');
  });

  it('moves as any other, its target told that no application is to be asked', async () => {
    const { world, id } = await openWorld();
    const seen: ToEndpoint[] = [];
    const { take } = world.endpoint('b');
    world.endpoint('b').take = (message) => {
      seen.push(message);
      take.call(world.endpoint('b'), message);
    };
    world.core.state.coordinator.request({ sessionId: id, target: 'b', origin: 'manual' }, () => undefined);
    await world.settle();
    expect(seen.find((m) => m.t === 'reserve')).toMatchObject({ sessionId: id, isClosing: true });
    expect(world.liveCopies(id)).toMatchObject([{ name: 'b', epoch: 1 }]);
    expect(closingOf(world, id)).toMatchObject({ tailBytes: 5000 });
    world.endpoint('b').end(id);
    await world.settle();
    expect(world.core.state.sessions.byId(id)).toBeUndefined();
  });

  it('is told of by its owner only, and of its own epoch only', async () => {
    const { world, id } = await openWorld();
    const told = { id, flow: flowOf(1), closing: { tailBytes: 9, finisher: 'kernel' as const } };
    world.link('b')?.fromEndpoint({ t: 'closing', sessions: [{ ...told, epoch: 0 }] });
    world.link('a')?.fromEndpoint({ t: 'closing', sessions: [{ ...told, epoch: 3 }] });
    await world.settle();
    expect(closingOf(world, id)).toEqual({ tailBytes: 5000, finisher: 'successor' });
  });

  it('is announced to the next daemon as what it is, and serves there as a live one', async () => {
    const { world, id } = await openWorld();
    await world.restartDaemon();
    for (const name of ['a', 'b']) world.connect(name);
    await world.settle();
    expect(closingOf(world, id)).toMatchObject({ tailBytes: 5000 });
    expect(world.recordOf(id)).toMatchObject({ name: 'a', phase: 'active' });
    await world.rebootHost();
    for (const name of ['a', 'b']) world.connect(name);
    await world.settle();
    expect(world.recordOf(id)).toMatchObject({ name: 'a', epoch: 0, phase: 'active' });
    expect(closingOf(world, id)).toMatchObject({ tailBytes: 5000 });
  });

  it('may be known as closing from its first word on', async () => {
    const { world } = await openWorld();
    const closing = { tailBytes: 7, finisher: 'successor' as const };
    const session = { id: 'short', flow: flowOf(99), epoch: 0, openedAtMs: 1, closing };
    world.link('a')?.fromEndpoint({ t: 'opened', sessions: [{ ...session, phase: 'closing' }] });
    await world.settle();
    expect(closingOf(world, 'short')).toEqual(closing);
  });

  it('is not swept while its owner has it, however long it is idle', async () => {
    const { world, id } = await openWorld(idle);
    await pass(world, 60_000);
    expect(world.recordOf(id)?.phase).toBe('active');
    expect(closingOf(world, id)).toBeDefined();
  });

  it('whose owner never comes back ends with its client`s own answer', async () => {
    const { world, id } = await openWorld(idle);
    world.cut('a');
    await pass(world, 30_000);
    expect(world.dataplane.resets).toEqual([formatFlow(flowOf(1))]);
    expect(world.recordOf(id)?.phase).toBe('closing');
    expect(world.core.state.sessions.byId(id)).toBeUndefined();
  });

  it('of an unprotected process that is replaced is its kernel`s, until the next process says no', async () => {
    const { world, id } = await openWorld();
    world.endpoint('a').close(id, 5000, 'kernel');
    const open = world.open('a');
    await world.settle();
    world.kill('a');
    world.connect('a');
    await world.settle();
    expect(world.core.state.sessions.byId(open)).toBeUndefined();
    expect(world.core.state.sessions.byId(id)).toMatchObject({ isFinishing: true });
    await pass(world, 10_000);
    expect(world.recordOf(id)).toMatchObject({ name: 'a', phase: 'active' });
    world.kernel('a').clear();
    await pass(world, 12_000);
    expect(world.core.state.sessions.byId(id)).toBeUndefined();
    expect(world.recordOf(id)?.phase).toBe('closing');
    expect(world.counters.get('protection_sessions_finished_total')).toBe(1);
  });
});

describe('a session whose application has ended its output and reads on', () => {
  const openHalf = async (): Promise<{ world: World; id: string }> => {
    const opened = await openWorld();
    const id = opened.world.open('a');
    await opened.world.settle();
    opened.world.endpoint('a').close(id, 5000, 'kernel', { hasApplication: true });
    await opened.world.settle();
    return { world: opened.world, id };
  };

  it('is asked for at a move like any live one, and its pin counts', async () => {
    const { world, id } = await openHalf();
    const { coordinator } = world.core.state;
    world.link('a')?.fromEndpoint({ t: 'pinned', id, reason: 'reads a file' });
    await world.settle();
    await expect(coordinator.migrate({ sessionId: id, origin: 'drain' })).rejects.toMatchObject({
      code: 'session_pinned',
    });
    world.link('a')?.fromEndpoint({ t: 'pinned', id, reason: null });
    const { take } = world.endpoint('b');
    const seen: ToEndpoint[] = [];
    world.endpoint('b').take = (message) => {
      seen.push(message);
      take.call(world.endpoint('b'), message);
    };
    await world.settle();
    coordinator.request(
      { sessionId: id, target: 'b', origin: 'recommended', isAutomatic: true },
      () => undefined,
    );
    await pass(world, 10_000);
    expect(seen.find((m) => m.t === 'reserve')).not.toHaveProperty('isClosing');
    expect(world.liveCopies(id)).toMatchObject([{ name: 'b' }]);
    expect(closingOf(world, id)).toMatchObject({ hasApplication: true });
  });

  it('is announced as live, and known as what it is all the same', async () => {
    const { world, id } = await openHalf();
    await world.restartDaemon();
    for (const name of ['a', 'b']) world.connect(name);
    await world.settle();
    expect(closingOf(world, id)).toEqual({ tailBytes: 5000, finisher: 'kernel', hasApplication: true });
  });

  it('is its kernel`s when its process dies', async () => {
    const { world, id } = await openHalf();
    world.kill('a');
    world.connect('a');
    await world.settle();
    expect(world.core.state.sessions.byId(id)).toMatchObject({ isFinishing: true });
  });
});

it('one whose process dies while its socket is frozen for a move is nobody`s, and its client is told', async () => {
  const { world, id } = await openWorld();
  world.endpoint('a').close(id, 5000, 'kernel');
  await world.settle();
  world.core.state.coordinator.request({ sessionId: id, target: 'b', origin: 'manual' }, () => undefined);
  for (let i = 0; i < 100 && world.copiesOf(id)[0]?.phase !== 'frozen'; i++) {
    world.deliver(() => 0);
    await settleMicrotasks();
  }
  expect(world.copiesOf(id)).toMatchObject([{ name: 'a', phase: 'frozen' }]);
  world.images.length = 0;
  world.kill('a');
  world.connect('a');
  await pass(world, 10_000);
  expect(world.core.state.sessions.byId(id)).toBeUndefined();
  expect(world.dataplane.resets).toEqual([formatFlow(flowOf(1))]);
  expect(world.recordOf(id)?.phase).toBe('closing');
});

it('one whose process dies before its move has frozen it is its kernel`s', async () => {
  const { world, id } = await openWorld();
  world.endpoint('a').close(id, 5000, 'kernel');
  await world.settle();
  world.core.state.coordinator.pauseAt('holding');
  world.core.state.coordinator.request({ sessionId: id, target: 'b', origin: 'manual' }, () => undefined);
  await world.settle();
  world.kill('a');
  world.connect('a');
  world.core.state.coordinator.resume();
  await pass(world, 10_000);
  expect(world.core.state.sessions.byId(id)).toMatchObject({ isFinishing: true, move: undefined });
  expect(world.recordOf(id)).toMatchObject({ name: 'a', phase: 'active' });
  expect(world.dataplane.resets).toEqual([]);
});

describe('who plans by load', () => {
  it('does not move it, and it does not ask for itself', async () => {
    const { world, id } = await openWorld();
    const { coordinator } = world.core.state;
    await expect(
      coordinator.migrate({ sessionId: id, origin: 'recommended', isAutomatic: true }),
    ).rejects.toMatchObject({ code: 'unknown_session' });
    world.link('a')?.fromEndpoint({ t: 'wants-move', n: 1, id, byVerdict: false });
    await world.settle();
    expect(coordinator.running()).toEqual([]);
    expect(world.liveCopies(id)).toMatchObject([{ name: 'a' }]);
  });

  it('hears of its end when its application ends it, once, and of nothing after that', async () => {
    const { world } = await openWorld();
    const { state } = world.core;
    const inputs = createInputHub();
    const heard: string[] = [];
    inputs.attach({
      push: (input: EngineInput) => {
        if (input.kind === 'session') heard.push(`${input.session} ${input.what} ${input.end ?? ''}`.trim());
      },
    });
    const teller = new FleetTeller({ ...state, inputs, endpointConfig: () => [] });
    teller.start();
    const id = world.open('a');
    await world.settle();
    world.endpoint('a').close(id, 10);
    await world.settle();
    expect(heard).toEqual([`${id} opened`, `${id} ended closed`]);
    state.coordinator.request({ sessionId: id, target: 'b', origin: 'manual' }, () => undefined);
    await world.settle();
    expect(world.liveCopies(id)).toMatchObject([{ name: 'b' }]);
    expect(JSON.stringify(teller.everything())).not.toContain(`"${id}"`);
    world.endpoint('b').end(id);
    await world.settle();
    expect(heard).toEqual([`${id} opened`, `${id} ended closed`]);
    teller.close();
  });
});
