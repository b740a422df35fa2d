/** Which moves run when, where they go, and what follows a failed one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RestitchError } from '@restitch/core';
import { afterAll, describe, expect, it } from 'vitest';
import type { MoveRequest, MoveResult } from './move-request.js';
import { testConfig } from '../testing/test-config.js';
import { settleMicrotasks } from '../testing/virtual-clock.js';
import { World } from '../testing/world.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-coordinator-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function openWorld(more = '', names = ['a', 'b', 'c']): Promise<World> {
  const world = new World(testConfig(directory, more), names);
  for (const name of names) world.connect(name);
  await world.settle();
  return world;
}

async function open(world: World, name = 'a'): Promise<string> {
  const id = world.open(name);
  await world.settle();
  return id;
}

function request(
  world: World,
  what: Omit<MoveRequest, 'origin'> & Partial<MoveRequest>,
): Promise<MoveResult> {
  const asked = world.core.state.coordinator.migrate({ origin: 'manual', ...what });
  asked.catch(() => undefined);
  return asked;
}

async function run(world: World, ms: number): Promise<void> {
  for (let t = 0; t < ms; t += 10) {
    await world.settle();
    await world.clock.advance(10);
  }
  await world.settle();
}

describe('a target that lacks what the image needs', () => {
  it('is refused at prepare, by name and feature, before anything is held', async () => {
    const world = await openWorld('', ['a', 'b']);
    world.endpoint('b').features = ['image-1'];
    const sessionId = await open(world);
    const asked = request(world, { sessionId, target: 'b' });
    await run(world, 1000);
    const { record } = await asked;
    expect(record).toMatchObject({
      outcome: 'refused',
      holdNs: 0,
      failure: {
        step: 'prepare',
        code: 'version_unsupported',
        message: expect.stringContaining('b cannot take its image, it lacks tcp-repair'),
      },
    });
    expect(world.endpoint('a').copies.get(sessionId)?.phase).toBe('live');
    expect(world.endpoint('b').reserved.size).toBe(0);
  });

  it('is passed over for the next one', async () => {
    const world = await openWorld('moves: {onTargetFailure: next-target}');
    world.endpoint('b').features = [];
    const sessionId = await open(world);
    const asked = request(world, { sessionId, target: 'b' });
    await run(world, 1000);
    const { attempts, record } = await asked;
    expect({ attempts, target: record.target, outcome: record.outcome }).toEqual({
      attempts: 2,
      target: 'c',
      outcome: 'committed',
    });
  });
});

describe('a move', () => {
  it('is committed, with its steps, timings and figures', async () => {
    const world = await openWorld();
    const sessionId = await open(world);
    const asked = request(world, { sessionId, target: 'b' });
    await world.settle();
    const { attempts, record } = await asked;
    expect(attempts).toBe(1);
    expect(record).toMatchObject({
      outcome: 'committed',
      unconfirmed: false,
      source: 'a',
      target: 'b',
      epoch: 1,
    });
    expect(record.figures).toMatchObject({ imageBytes: 100, freezeUs: 1, thawUs: 1, serverRtos: 0 });
    expect(record.steps.map((s) => s.state)).toEqual([
      'reserving',
      'preparing',
      'waiting',
      'holding',
      'freezing',
      'frozen',
      'switching',
      'activating',
      'confirming',
      'releasing',
      'committed',
    ]);
    expect(world.recordOf(sessionId)).toEqual({ name: 'b', epoch: 1, phase: 'active' });
  });

  it('reverts when the target cannot thaw, says where and why, and the next attempt has an epoch of its own', async () => {
    const world = await openWorld();
    const sessionId = await open(world);
    world.mishaps.thaw = 1;
    const asked = request(world, { sessionId, target: 'b' });
    await world.settle();
    const { record } = await asked;
    expect(record).toMatchObject({ outcome: 'reverted', failure: { step: 'thaw', code: 'thaw_failed' } });
    expect(world.liveCopies(sessionId)).toMatchObject([{ name: 'a', epoch: 0 }]);
    const again = request(world, { sessionId, target: 'b' });
    await world.settle();
    expect((await again).record).toMatchObject({ outcome: 'committed', epoch: 2 });
  });

  it('goes to the next target when that is configured', async () => {
    const world = await openWorld('moves: {onTargetFailure: next-target}');
    const sessionId = await open(world);
    world.mishaps.thaw = 1;
    const asked = request(world, { sessionId, target: 'b' });
    await world.settle();
    const { attempts, record } = await asked;
    expect(attempts).toBe(2);
    expect(record).toMatchObject({ outcome: 'committed', target: 'c' });
  });

  it('tries a busy session again, a bounded number of times', async () => {
    const world = await openWorld('moves: {busyRetries: 3}');
    const sessionId = await open(world);
    world.mishaps.busy = 2;
    const asked = request(world, { sessionId });
    for (let i = 0; i < 5; i++) {
      await world.settle();
      await world.clock.advance(25);
    }
    await world.settle();
    expect((await asked).record).toMatchObject({ outcome: 'committed', busyTries: 2 });
    world.mishaps.busy = 100;
    const stubborn = request(world, { sessionId });
    for (let i = 0; i < 8; i++) {
      await world.settle();
      await world.clock.advance(25);
    }
    await world.settle();
    expect((await stubborn).record).toMatchObject({ outcome: 'reverted', failure: { code: 'session_busy' } });
    world.mishaps.busy = 0;
  });

  it('does not take a late refusal of the freeze for one of the revert', async () => {
    const world = await openWorld();
    const sessionId = await open(world);
    const asked = request(world, { sessionId, target: 'b' });
    const isFreezeUnderWay = (): boolean =>
      world.link('a')?.toEndpoint.some((m) => m.t === 'freeze') ?? false;
    for (let i = 0; i < 50 && !isFreezeUnderWay(); i++) {
      world.deliver(() => 0);
      await settleMicrotasks();
    }
    expect(isFreezeUnderWay()).toBe(true);
    world.mishaps.freeze = 1;
    await world.clock.advance(60);
    await world.settle();
    expect((await asked).record).toMatchObject({
      outcome: 'reverted',
      failure: { step: 'freeze', code: 'deadline_exceeded' },
    });
    expect(world.core.state.sessions.byId(sessionId)?.doubt).toBeUndefined();
  });

  it.each([
    ['unknown_session', { sessionId: 'nobody' }],
    ['unknown_endpoint', { sessionId: 's1', target: 'nowhere' }],
    ['no_target', { sessionId: 's1', target: 'a' }],
  ])('is refused with %s before anything is asked of anybody', async (code, what) => {
    const world = await openWorld();
    await open(world);
    await expect(request(world, what)).rejects.toMatchObject({ code });
    expect(world.core.state.history.lastSeq).toBe(0);
  });

  it('is refused when nobody may take the session', async () => {
    const world = await openWorld('', ['a']);
    const sessionId = await open(world);
    await expect(request(world, { sessionId })).rejects.toMatchObject({ code: 'no_target' });
  });
});

describe('the choice of a target', () => {
  it('takes the least loaded for its weight', async () => {
    const world = await openWorld('endpoints: [{name: b, weight: 300}, {name: c, weight: 100}]');
    for (let i = 0; i < 40; i++) await open(world);
    const all = Array.from({ length: 40 }, (_, i) => request(world, { sessionId: `s${i + 1}` }));
    await run(world, 200);
    await Promise.all(all);
    expect(world.endpoint('b').copies.size).toBe(30);
    expect(world.endpoint('c').copies.size).toBe(10);
  });
});

describe('the order of moves', () => {
  const one = 'moves: {concurrency: 1, minimumResidence: 0s, perSecond: 1000}';

  it('takes what an operator asked for before drains, and drains before recommendations', async () => {
    const world = await openWorld(one);
    for (let i = 0; i < 4; i++) await open(world);
    const ended: string[] = [];
    const ask = (sessionId: string, origin: MoveRequest['origin'], priority = 0): void => {
      world.core.state.coordinator.request({ sessionId, origin, priority }, (result) => {
        if (!(result instanceof RestitchError)) ended.push(result.record.sessionId);
      });
    };
    ask('s1', 'manual');
    ask('s2', 'recommended');
    ask('s3', 'drain');
    ask('s4', 'manual');
    for (let i = 0; i < 20; i++) {
      await world.settle();
      await world.clock.advance(5);
    }
    expect(ended).toEqual(['s1', 's4', 's3', 's2']);
  });

  it('takes recommendations by priority, at the configured rate, and not before a session has settled', async () => {
    const world = await openWorld('moves: {perSecond: 10, minimumResidence: 2s}');
    for (let i = 0; i < 3; i++) await open(world);
    const ended: string[] = [];
    for (const [sessionId, priority] of [
      ['s1', 1],
      ['s2', 9],
      ['s3', 5],
    ] as const) {
      world.core.state.coordinator.request({ sessionId, origin: 'recommended', priority }, () => {
        ended.push(sessionId);
      });
    }
    await run(world, 1900);
    expect(ended).toEqual([]);
    await run(world, 150);
    expect(ended).toEqual(['s2']);
    await run(world, 100);
    expect(ended).toEqual(['s2', 's3']);
    await run(world, 200);
    expect(ended).toEqual(['s2', 's3', 's1']);
  });

  it('keeps to the bound for one endpoint', async () => {
    const world = await openWorld('moves: {endpointConcurrency: 2}');
    for (let i = 0; i < 6; i++) await open(world);
    for (let i = 0; i < 6; i++) void request(world, { sessionId: `s${i + 1}` });
    expect(world.core.state.coordinator.running().length).toBe(2);
    expect(world.core.state.coordinator.waiting).toBe(4);
    await run(world, 200);
    expect(world.core.state.history.lastSeq).toBe(6);
  });
});
