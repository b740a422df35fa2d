/** A drain ends when nothing is owed to any client: tails in sessions, and bytes in sockets that no session belongs to. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DrainProgress } from './drain-progress.js';
import { testConfig } from '../testing/test-config.js';
import { World } from '../testing/world.js';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-residue-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function openWorld(more = ''): Promise<World> {
  const world = new World(testConfig(directory, more), ['a', 'b', 'c']);
  for (const name of ['a', 'b', 'c']) world.connect(name);
  await world.settle();
  return world;
}

function start(world: World, onDeadline: 'wait' | 'force' | 'reset' = 'wait', deadlineMs = 60_000): void {
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

const progress = (world: World): DrainProgress | undefined => world.core.state.drains.progressOf('a');
/** Questions since the last call. */
function countQuestions(world: World): () => number {
  let asked = 0;
  const { take } = world.endpoint('a');
  world.endpoint('a').take = (message) => {
    if (message.t === 'residue') asked++;
    take.call(world.endpoint('a'), message);
  };
  return () => {
    const before = asked;
    asked = 0;
    return before;
  };
}

describe('a drain', () => {
  it('moves closing sessions, which no pin of their application hinders', async () => {
    const world = await openWorld();
    const id = world.open('a');
    world.link('a')?.fromEndpoint({ t: 'pinned', id, reason: 'holds a lock' });
    await world.settle();
    world.endpoint('a').close(id, 74_201);
    await world.settle();
    expect(world.core.state.sessions.byId(id)).toMatchObject({
      pinned: 'holds a lock',
      closing: { tailBytes: 74_201, finisher: 'successor' },
    });
    start(world);
    expect(progress(world)).toMatchObject({ left: 1, closing: 1 });
    await run(world, 1000);
    expect(progress(world)).toMatchObject({ state: 'drained', moved: 1, left: 0, closing: 0 });
    const [copy] = world.copiesOf(id);
    expect(copy).toMatchObject({ phase: 'live' });
    expect(copy?.name).not.toBe('a');
    expect(world.core.state.sessions.byId(id)?.closing?.tailBytes).toBe(74_201);
  });

  it('tries a refused tail again like any other session', async () => {
    const world = await openWorld();
    const id = world.open('a');
    await world.settle();
    world.endpoint('a').close(id, 100);
    world.mishaps.prepare = 2;
    start(world);
    await run(world, 150);
    expect(progress(world)).toMatchObject({ left: 1, stuck: [{ code: 'socket_unsupported', sessions: 1 }] });
    await run(world, 2000);
    expect(progress(world)).toMatchObject({ state: 'drained', moved: 1 });
  });

  it('waits for sockets that no session belongs to, and says for what', async () => {
    const world = await openWorld();
    world.kernel('a').set('x', 70_000).set('y', 4200).set('z', 1);
    start(world);
    await run(world, 300);
    expect(progress(world)).toMatchObject({
      state: 'draining',
      left: 0,
      residue: { sockets: 3, bytes: 74_201 },
    });
    await run(world, 5000);
    expect(progress(world)?.stuck).toEqual([
      {
        code: 'residue',
        sessions: 3,
        example: { sessionId: '', reason: 'waits for 3 sockets with 74201 bytes to be acknowledged' },
      },
    ]);
    world.kernel('a').clear();
    await run(world, 5200);
    expect(progress(world)).toMatchObject({ state: 'drained', residue: { sockets: 0 }, stuck: [] });
    expect(world.core.state.endpoints.require('a').state).toBe('drained');
  });

  it('asks one question at a time, and less often as long as nothing changes', async () => {
    const world = await openWorld();
    const asked = countQuestions(world);
    world.kernel('a').set('x', 10_000);
    start(world);
    await run(world, 1000);
    expect(asked()).toBeLessThanOrEqual(6);
    await run(world, 20_000);
    const standing = asked();
    expect(standing).toBeGreaterThanOrEqual(4);
    expect(standing).toBeLessThanOrEqual(9);
    // It moves again: asked more often, so that the end is not missed for seconds.
    world.kernel('a').set('x', 500);
    await run(world, 5000);
    world.kernel('a').clear();
    await run(world, 2000);
    expect(progress(world)?.state).toBe('drained');
    asked();
    await run(world, 30_000);
    expect(asked()).toBeLessThanOrEqual(10);
  });

  it('does not stay drained when something comes up after all', async () => {
    const world = await openWorld();
    start(world);
    await run(world, 500);
    expect(progress(world)?.state).toBe('drained');
    world.kernel('a').set('late', 300);
    await run(world, 6000);
    expect(progress(world)).toMatchObject({ state: 'draining', residue: { sockets: 1, bytes: 300 } });
    world.kernel('a').clear();
    await run(world, 6000);
    expect(progress(world)?.state).toBe('drained');
  });

  it('is not drained by an answer of before its last session left', async () => {
    const world = await openWorld();
    const id = world.open('a');
    await world.settle();
    start(world);
    await run(world, 500);
    expect(progress(world)?.state).toBe('drained');
    // A handshake was still under way, and the tail of what came of it is nobody's.
    const late = world.open('a');
    await world.settle();
    world.kernel('a').set('x', 10);
    for (let i = 0; i < 12; i++) {
      await run(world, 50);
      if (world.core.state.sessions.byId(late)?.owner.name === 'a') continue;
      expect(progress(world)?.state).toBe('draining');
    }
    expect(world.copiesOf(id)).toHaveLength(1);
    expect(progress(world)).toMatchObject({ left: 0, moved: 2, residue: { sockets: 1 } });
  });

  it('is not drained while a move of its is under way', async () => {
    const world = await openWorld();
    const id = world.open('a');
    await world.settle();
    world.core.state.coordinator.pauseAt('releasing');
    world.core.state.coordinator.request({ sessionId: id, target: 'b', origin: 'manual' }, () => undefined);
    await world.settle();
    start(world);
    await run(world, 1000);
    expect(progress(world)).toMatchObject({ state: 'draining', left: 0, residue: null });
    world.core.state.coordinator.resume();
    await run(world, 1000);
    expect(progress(world)?.state).toBe('drained');
  });

  it.each([
    ['refuses the question', 'message_invalid'],
    ['hangs up at the question', 'lost'],
  ])('of an endpoint that %s does not end by itself, and says why', async (_what, how) => {
    const world = await openWorld('health: {suspectAfter: 60s, deadAfter: 90s}');
    const endpoint = world.endpoint('a');
    const { take } = endpoint;
    let asked = 0;
    endpoint.take = (message) => {
      if (message.t !== 'residue') take.call(endpoint, message);
      else if (how === 'lost') {
        asked++;
        world.cut('a');
      } else {
        const failure = { code: 'message_invalid', message: 'a request of an unknown kind' };
        world.link('a')?.fromEndpoint({ t: 'refusal', re: message.rq, failure });
      }
    };
    start(world);
    for (let i = 0; i < 40; i++) {
      world.connect('a');
      await run(world, 500);
    }
    expect(progress(world)).toMatchObject({
      state: 'draining',
      left: 0,
      residue: null,
      stuck: [{ code: 'version_unsupported', example: { reason: expect.stringContaining('older') } }],
    });
    // Each question costs an old endpoint its connection.
    if (how === 'lost') expect(asked).toBe(3);
    world.core.state.drains.stop(world.core.state.endpoints.require('a'));
    expect(world.core.state.endpoints.require('a').state).toBe('healthy');
  });

  it('goes on when a refused question is answered the next time', async () => {
    const world = await openWorld();
    world.mishaps.residue = 3;
    start(world);
    await run(world, 250);
    expect(progress(world)).toMatchObject({ state: 'draining', residue: null });
    await run(world, 3000);
    expect(progress(world)?.state).toBe('drained');
  });

  it('forgets everything when it is undone, also moves that have not begun', async () => {
    const world = await openWorld('moves: {concurrency: 1, endpointConcurrency: 8}');
    for (let i = 0; i < 6; i++) world.open('a');
    await world.settle();
    world.core.state.coordinator.pauseAt('freezing');
    start(world);
    await world.settle();
    expect(world.core.state.coordinator.waiting).toBeGreaterThan(0);
    const asked = countQuestions(world);
    world.core.state.drains.stop(world.core.state.endpoints.require('a'));
    expect(world.core.state.coordinator.waiting).toBe(0);
    world.core.state.coordinator.resume();
    await run(world, 3000);
    expect(world.core.state.coordinator.running()).toEqual([]);
    expect(world.endpoint('a').copies.size).toBeGreaterThanOrEqual(5);
    expect(asked()).toBe(0);
    expect(progress(world)).toBeUndefined();
  });

  it('resets tails, too, behind a deadline that says so', async () => {
    const world = await openWorld();
    const id = world.open('a');
    await world.settle();
    world.endpoint('a').close(id, 100);
    world.mishaps.prepare = 1000;
    start(world, 'reset', 300);
    await run(world, 2000);
    expect(progress(world)).toMatchObject({ state: 'drained', ended: 1 });
    expect(world.core.state.sessions.byId(id)).toBeUndefined();
  });
});

describe('a process that is about to leave', () => {
  const backends = (world: World): number[] =>
    world.dataplane.services[0]?.backends.map((b) => b.endpointId) ?? [];

  it('gets no new flows from then on, and its sessions are moved away', async () => {
    const world = await openWorld();
    for (let i = 0; i < 4; i++) world.open('a');
    await world.settle();
    world.endpoint('a').leave(true);
    await world.settle();
    expect(backends(world)).toEqual([2, 3]);
    await run(world, 1000);
    expect(progress(world)).toMatchObject({
      state: 'drained',
      isLeaving: true,
      moved: 4,
      onDeadline: 'wait',
    });
  });

  it('gets them again when it stays after all', async () => {
    const world = await openWorld();
    world.endpoint('a').leave(true);
    await world.settle();
    world.endpoint('a').leave(false);
    await world.settle();
    expect(progress(world)).toBeUndefined();
    await run(world, 100);
    expect(backends(world)).toEqual([1, 2, 3]);
  });

  it('leaves no drain to the process that comes after it', async () => {
    const world = await openWorld();
    world.endpoint('a').leave(true);
    await run(world, 500);
    world.kill('a');
    world.connect('a');
    await run(world, 200);
    expect(progress(world)).toBeUndefined();
    expect(backends(world)).toEqual([1, 2, 3]);
    expect(world.core.state.endpoints.require('a').state).toBe('healthy');
  });

  it('leaves none behind either when no process comes after it', async () => {
    const world = await openWorld('health: {suspectAfter: 1s, deadAfter: 2s}');
    world.endpoint('a').leave(true);
    await run(world, 500);
    world.cut('a');
    await run(world, 5000);
    expect(world.core.state.endpoints.require('a').liveness).toBe('down');
    expect(progress(world)).toBeUndefined();
  });

  it('does not end an operator`s drain, and an operator does not end its leaving', async () => {
    const world = await openWorld();
    const a = world.core.state.endpoints.require('a');
    start(world, 'reset');
    world.endpoint('a').leave(true);
    await run(world, 200);
    expect(progress(world)).toMatchObject({ isLeaving: false, onDeadline: 'reset' });
    world.endpoint('a').leave(false);
    await run(world, 200);
    expect(progress(world)).toMatchObject({ isLeaving: false, onDeadline: 'reset' });
    world.endpoint('a').leave(true);
    await run(world, 200);
    world.core.state.drains.stop(a);
    expect(progress(world)).toMatchObject({ isLeaving: true, onDeadline: 'wait' });
    expect(backends(world)).toEqual([2, 3]);
    start(world, 'force');
    world.kill('a');
    world.connect('a');
    await run(world, 200);
    expect(progress(world)).toMatchObject({ isLeaving: false, onDeadline: 'force' });
    expect(backends(world)).toEqual([2, 3]);
  });

  it('is not remembered by the next daemon, to which it says so again', async () => {
    const world = await openWorld();
    world.endpoint('a').leave(true);
    await world.settle();
    await world.restartDaemon();
    expect(progress(world)).toBeUndefined();
    for (const name of ['a', 'b', 'c']) world.connect(name);
    world.endpoint('a').leave(true);
    await run(world, 500);
    expect(progress(world)).toMatchObject({ isLeaving: true });
  });
});
