/** Everything an endpoint refuses, and that the session serves on afterwards. */
import type { Socket } from 'node:net';
import type { SessionReport } from '@restitch/wire/internal';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type FakePeer, thawed } from './fake-access-point.js';
import { codeOf, readAll, take, until } from './streams.js';
import { type EndpointChild, World } from './world.js';

let world: World;
let a: EndpointChild;
let b: EndpointChild;
let source: FakePeer;
let target: FakePeer;
let client: Socket;
let report: SessionReport;

beforeAll(async () => {
  world = await World.open();
  [a, b] = await Promise.all([
    world.start('a', { capacitySessions: 1000 }),
    world.start('b', { capacitySessions: 2 }),
  ]);
  source = await world.accessPoint.peer('a');
  target = await world.accessPoint.peer('b');
});

afterEach(async () => {
  client.destroy();
  await until(async () => (await a.session(report.id)) === undefined);
});

afterAll(() => world.close());

async function openSession(application: Parameters<World['open']>[0] = 'echo'): Promise<void> {
  world.net.steer('a');
  ({ client, report } = await world.open(application));
}

async function expectServing(): Promise<void> {
  client.write('still here');
  expect(await take(client, 10)).toBe('still here');
}

function prepare(
  moveId: string,
  change: { name?: string; port?: number; budgetMs?: number; features?: string[] } = {},
) {
  const { stateAddress } = target.hello as NonNullable<FakePeer['hello']>;
  return source.ask({
    t: 'prepare',
    moveId,
    sessionId: report.id,
    target: {
      name: change.name ?? 'b',
      address: { ...stateAddress, port: change.port ?? stateAddress.port },
      ...(change.features === undefined ? {} : { features: change.features }),
    },
    budgetMs: change.budgetMs ?? 2000,
  });
}

describe('a target refuses a reservation', () => {
  it('of an application or version it does not accept, of a listener it does not have', async () => {
    await openSession();
    const plain = world.reservation(source, report, 'r1', 2);
    const app = { name: 'test', version: '1' };
    expect(await codeOf(target.ask({ ...plain, app: { ...app, version: '2' } }))).toBe('app_refused');
    expect(await codeOf(target.ask({ ...plain, app: { ...app, name: 'x' } }))).toBe('app_refused');
    expect(await codeOf(target.ask({ ...plain, listener: 'nothing' }))).toBe('app_refused');
    await expectServing();
  });

  it('beyond its capacity, and takes it again when places expire or are given back', async () => {
    await openSession();
    const reserve = (moveId: string, expiresMs: number) =>
      target.ask({ ...world.reservation(source, report, moveId, 2, expiresMs), sessionId: moveId });
    await reserve('c1', 10_000);
    await reserve('c2', 50);
    expect(await codeOf(reserve('c3', 50))).toBe('no_capacity');
    await until(async () => (await codeOf(reserve('c4', 50))) === 'resolved');
    await target.ask({ t: 'abort', moveId: 'c1' });
    expect(await codeOf(reserve('c5', 10_000))).toBe('resolved');
    await target.ask({ t: 'abort', moveId: 'c5' });
  });

  it('twice for one move, and under an epoch that is not higher than the known one', async () => {
    await openSession();
    const moved = await world.move(report, 'a', 'b');
    const back = await world.move(moved, 'b', 'a');
    expect(back.epoch).toBe(3);
    for (const epoch of [1, 2]) {
      expect(await codeOf(target.ask(world.reservation(source, report, `e${epoch}`, epoch)))).toBe(
        'stale_epoch',
      );
    }
    await target.ask(world.reservation(source, report, 'e4', 4));
    expect(await codeOf(target.ask(world.reservation(source, report, 'e4', 4)))).toBe('message_invalid');
    await target.ask({ t: 'abort', moveId: 'e4' });
    await expectServing();
  });
});

describe('a source refuses a target', () => {
  it('that lacks what its image needs, by name; not one that has more, or has not said', async () => {
    await openSession();
    expect(target.hello?.features).toEqual(['image-1', 'tcp-repair']);
    await expect(prepare('f1', { features: ['image-1', 'tls-1'] })).rejects.toMatchObject({
      code: 'version_unsupported',
      message: expect.stringMatching(/: b cannot take its image, it lacks tcp-repair: update b$/),
    });
    await expectServing();
    const features = ['image-1', 'tcp-repair', 'tls-1'];
    for (const [moveId, change] of [
      ['f2', { features }],
      ['f3', {}],
    ] as const) {
      expect(await codeOf(prepare(moveId, change))).toBe('resolved');
      await source.ask({ t: 'revert', moveId });
    }
    await expectServing();
  });
});

describe('a source refuses to prepare', () => {
  it('a session it does not have', async () => {
    await openSession();
    const { stateAddress } = target.hello as NonNullable<FakePeer['hello']>;
    const asked = source.ask({
      t: 'prepare',
      moveId: 'p1',
      sessionId: 'nobody',
      target: { name: 'b', address: stateAddress },
      budgetMs: 100,
    });
    expect(await codeOf(asked)).toBe('unknown_session');
  });

  it('a pinned session, until it is unpinned', async () => {
    await openSession();
    await a.tell('pin', { id: report.id, reason: 'in a transaction' });
    expect(await source.event('pinned')).toMatchObject({ id: report.id, reason: 'in a transaction' });
    expect(await codeOf(prepare('p2'))).toBe('session_pinned');
    await a.tell('unpin', { id: report.id });
    expect(await source.event('pinned')).toMatchObject({ id: report.id, reason: null });
    expect(await codeOf(prepare('p2'))).toBe('resolved');
    await source.ask({ t: 'revert', moveId: 'p2' });
    await expectServing();
  });

  it('not a pinned session when the operator has said force', async () => {
    await openSession();
    await a.tell('pin', { id: report.id, reason: 'in a transaction' });
    expect(await source.event('pinned')).toMatchObject({ reason: 'in a transaction' });
    const { stateAddress } = target.hello as NonNullable<FakePeer['hello']>;
    const asked = source.ask({
      t: 'prepare',
      moveId: 'f1',
      sessionId: report.id,
      target: { name: 'b', address: stateAddress },
      budgetMs: 100,
      force: true,
    });
    expect(await codeOf(asked)).toBe('resolved');
    await source.ask({ t: 'revert', moveId: 'f1' });
    await a.tell('unpin', { id: report.id });
    await expectServing();
  });

  it('a session that stays busy, and waits for one that does not', async () => {
    await openSession();
    await a.tell('busy', { id: report.id, ms: 300 });
    expect(await codeOf(prepare('p3', { budgetMs: 50 }))).toBe('session_busy');
    expect(await codeOf(prepare('p3'))).toBe('resolved');
    await source.ask({ t: 'revert', moveId: 'p3' });
  });

  it('a session in another move', async () => {
    await openSession();
    await prepare('p4');
    expect(await codeOf(prepare('p5'))).toBe('session_moving');
    expect(await codeOf(prepare('p4'))).toBe('resolved');
    await source.ask({ t: 'revert', moveId: 'p4' });
    expect(await codeOf(prepare('p5'))).toBe('resolved');
    await source.ask({ t: 'revert', moveId: 'p5' });
  });

  it('state that cannot travel, naming where', async () => {
    await openSession();
    await a.tell('badState', { id: report.id });
    await expect(prepare('p6')).rejects.toMatchObject({ code: 'freeze_failed' });
    await expect(prepare('p6')).rejects.toThrow(/session\.state\.bad holds a function/);
    await expectServing();
  });

  it('a session under TLS', async () => {
    await openSession('idle');
    const { certFile, keyFile } = await world.pki.issue('endpoint', 'tls', { force: true });
    await a.tell('tls', { id: report.id, certFile, keyFile });
    await expect(prepare('p9')).rejects.toMatchObject({
      code: 'socket_unsupported',
      details: { reason: 'tls' },
    });
    await a.tell('destroy', { id: report.id });
  });

  it('a target that is not there, or is another than its certificate says', async () => {
    await openSession();
    expect(await codeOf(prepare('p7', { port: 9 }))).toBe('transfer_failed');
    expect(await codeOf(prepare('p8', { name: 'a' }))).toBe('transfer_failed');
    await expectServing();
  });
});

describe('a source refuses to freeze', () => {
  it('what was not prepared, and under an epoch that is not higher', async () => {
    await openSession();
    expect(await codeOf(source.ask({ t: 'freeze', moveId: 'f0', epoch: 2, budgetMs: 50 }))).toBe(
      'message_invalid',
    );
    await prepare('f1');
    expect(await codeOf(source.ask({ t: 'freeze', moveId: 'f1', epoch: 1, budgetMs: 50 }))).toBe(
      'stale_epoch',
    );
    expect(await codeOf(source.ask({ t: 'release', moveId: 'f1' }))).toBe('message_invalid');
    await source.ask({ t: 'revert', moveId: 'f1' });
    await expectServing();
  });

  it('a session that ended after it was prepared, by that name', async () => {
    await openSession();
    await prepare('f2');
    client.destroy();
    await until(async () => (await a.session(report.id)) === undefined);
    expect(await codeOf(source.ask({ t: 'freeze', moveId: 'f2', epoch: 2, budgetMs: 50 }))).toBe(
      'unknown_session',
    );
    expect(await codeOf(source.ask({ t: 'revert', moveId: 'f2' }))).toBe('resolved');
  });

  it('a busy session, and freezes it on the next try', async () => {
    await openSession();
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    await a.tell('busy', { id: report.id, ms: 100 });
    expect(await codeOf(source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 40 }))).toBe('session_busy');
    await expectServing();
    await until(
      async () => (await codeOf(source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 40 }))) === 'resolved',
    );
    await thawed(target, moveId);
    await target.ask({ t: 'abort', moveId });
    await source.ask({ t: 'revert', moveId });
    await expectServing();
  });

  it('when onFreeze hooks take too long, and runs onThaw then', async () => {
    await openSession();
    await a.tell('seen');
    await a.tell('slowFreeze', { id: report.id, ms: 500 });
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    expect(await codeOf(source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 50 }))).toBe(
      'deadline_exceeded',
    );
    expect(await a.tell('seen')).toEqual(['onFreeze', 'onThaw']);
    await target.ask({ t: 'abort', moveId });
    await source.ask({ t: 'revert', moveId });
    await expectServing();
  });

  it('when it is called off while hooks run', async () => {
    await openSession();
    await a.tell('slowFreeze', { id: report.id, ms: 100 });
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    const frozen = codeOf(source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 }));
    await source.ask({ t: 'revert', moveId });
    expect(await frozen).toBe('freeze_failed');
    await target.ask({ t: 'abort', moveId });
    await expectServing();
  });
});

describe('out of turn', () => {
  it('a target activates only what it thawed, under its epoch, and aborts nothing it serves', async () => {
    await openSession();
    expect(await codeOf(target.ask({ t: 'activate', moveId: 't0', epoch: 2 }))).toBe('message_invalid');
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    expect(await codeOf(target.ask({ t: 'activate', moveId, epoch: 2 }))).toBe('message_invalid');
    await source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 });
    await thawed(target, moveId);
    expect(await codeOf(target.ask({ t: 'activate', moveId, epoch: 3 }))).toBe('stale_epoch');
    world.net.steer('b');
    await target.ask({ t: 'activate', moveId, epoch: 2 });
    expect(await codeOf(target.ask({ t: 'activate', moveId, epoch: 2 }))).toBe('resolved');
    expect(await codeOf(target.ask({ t: 'abort', moveId }))).toBe('message_invalid');
    await source.ask({ t: 'release', moveId });
    expect(await codeOf(source.ask({ t: 'release', moveId }))).toBe('resolved');
    expect(await codeOf(source.ask({ t: 'revert', moveId }))).toBe('stale_epoch');
    await expectServing();
    client.destroy();
    await until(async () => (await b.session(report.id)) === undefined);
  });

  it('counts each refusal by request and code', async () => {
    await openSession();
    const counters = await a.tell<Record<string, number>>('counters');
    for (const name of [
      'prepare_refused_session_pinned',
      'freeze_refused_stale_epoch',
      'revert_refused_stale_epoch',
    ]) {
      expect(counters[`endpoint_${name}_total`], name).toBeGreaterThan(0);
    }
  });
});

describe('a reverted session', () => {
  it('serves on in place with all its bytes, and can be moved afterwards', async () => {
    await openSession('idle');
    await a.tell('writeMany', { id: report.id, bytes: 10_000_000 });
    for (let i = 0; i < 3; i++) {
      const moveId = await world.reserveAndPrepare(report, 'a', 'b', 2 + i);
      await source.ask({ t: 'freeze', moveId, epoch: 2 + i, budgetMs: 1000 });
      await thawed(target, moveId);
      client.write(`part ${i}, `);
      await target.ask({ t: 'abort', moveId });
      expect(await source.ask({ t: 'revert', moveId })).toEqual({ wasFrozen: true });
      expect(await a.session(report.id)).toMatchObject({ phase: 'live', epoch: 1, resumed: false });
    }
    await a.tell('end', { id: report.id, text: 'end' });
    expect((await readAll(client)).length).toBe(10_000_003);
    client.end();
    expect(await a.tell('readHash', { id: report.id })).toMatchObject({ bytes: 24 });
  });

  it('ends properly when the application destroyed it while it was frozen', async () => {
    await openSession();
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    await source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 });
    await a.tell('destroy', { id: report.id });
    await thawed(target, moveId);
    await target.ask({ t: 'abort', moveId });
    const gone = readAll(client);
    await source.ask({ t: 'revert', moveId });
    await gone;
    client.end();
    await world.ended('a', report.id);
  });
});
