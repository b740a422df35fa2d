/** Sessions of two real endpoint processes, moved by a scripted access point; run on every supported Node. */
import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import type { SessionReport } from '@restitch/wire/internal';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAll, take, until } from './streams.js';
import { type ChildOptions, type EndpointChild, World } from './world.js';

/** Defines the tests, for endpoint processes on this Node binary. */
export function describeMoves(options: ChildOptions): void {
  let world: World;
  let a: EndpointChild;
  let b: EndpointChild;

  beforeAll(async () => {
    world = await World.open();
    [a, b] = await Promise.all([world.start('a', options), world.start('b', options)]);
  });

  afterAll(() => world.close());

  async function openAt(
    application: Parameters<World['open']>[0],
  ): Promise<{ client: Socket; report: SessionReport }> {
    world.net.steer('a');
    await a.tell('seen');
    await b.tell('seen');
    return world.open(application);
  }

  describe('a moved session', () => {
    it('goes on echoing at the target, and back, without a line of move code', async () => {
      const { client, report } = await openAt('echo');
      client.write('one');
      expect(await take(client, 3)).toBe('one');
      const moved = await world.move(report, 'a', 'b');
      client.write('two');
      expect(await take(client, 3)).toBe('two');
      expect(await a.session(report.id)).toBeUndefined();
      const there = { phase: 'live', epoch: 2, resumed: true, moves: 1, bytesRead: 6, bytesWritten: 6 };
      expect(await b.session(report.id)).toMatchObject(there);
      expect(await b.tell('seen')).toEqual(['resumed move 1', 'migrated from a', 'onThaw']);
      expect(await a.tell('seen')).toEqual(['opened', 'onFreeze', 'close']);
      await world.move(moved, 'b', 'a');
      client.end('three');
      expect((await readAll(client)).toString()).toBe('three');
      expect(await world.ended('a', report.id)).toMatchObject({ epoch: 3, reason: 'closed' });
    });

    it('takes its state along', async () => {
      const { client, report } = await openAt('lines');
      let moved = report;
      let at: 'a' | 'b' = 'a';
      for (let i = 1; i <= 6; i++) {
        client.write(`request ${i}\n`);
        expect(await take(client, 12)).toBe(`request ${i} ${i}\n`);
        const to: 'a' | 'b' = at === 'a' ? 'b' : 'a';
        moved = await world.move(moved, at, to);
        at = to;
      }
      client.destroy();
    });

    it('takes along what the application has not read', async () => {
      const { client, report } = await openAt('idle');
      client.write('x'.repeat(300_000));
      await until(async () => ((await a.session(report.id))?.readableLength ?? 0) > 0);
      await world.move(report, 'a', 'b');
      client.end('end');
      const got = await b.tell<{ bytes: number; sha256: string }>('readHash', { id: report.id });
      expect(got).toEqual({
        bytes: 300_003,
        sha256: createHash('sha256')
          .update(`${'x'.repeat(300_000)}end`)
          .digest('hex'),
      });
      client.destroy();
    });

    it('takes along what the application has written and its end, while the client does not read', async () => {
      const { client, report } = await openAt('idle');
      await a.tell('writeMany', { id: report.id, bytes: 20_000_000 });
      await a.tell('end', { id: report.id, text: 'last' });
      await world.move(report, 'a', 'b');
      const got = await readAll(client);
      expect(got.length).toBe(20_000_004);
      expect(got.subarray(-6).toString()).toBe('wwlast');
      client.destroy();
    });

    it('goes on with a download from its position, moved under load', async () => {
      const { client, report } = await openAt('download');
      const chunks: Buffer[] = [];
      client.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        client.pause();
        setTimeout(() => client.resume(), 1);
      });
      let moved = report;
      for (const [from, to] of [
        ['a', 'b'],
        ['b', 'a'],
        ['a', 'b'],
      ] as const) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        moved = await world.move(moved, from, to);
      }
      await new Promise((resolve) => client.once('end', resolve));
      const all = Buffer.concat(chunks);
      expect(all.length).toBe(32 * 1024 * 1024);
      let wrong = 0;
      for (let i = 0; i < all.length; i++) if (all[i] !== ((i * 7 + (i >> 9)) & 0xff)) wrong++;
      expect(wrong).toBe(0);
      client.destroy();
    }, 60_000);

    it('keeps the socket options the application set', async () => {
      const { client, report } = await openAt('echo');
      await a.tell('setOptions', { id: report.id });
      await world.move(report, 'a', 'b');
      const ss = world.net.run('b', 'ss -tnoiH state established dport = ' + client.localPort);
      expect(ss).toMatch(/keepalive/);
      client.destroy();
    });

    it('tells its endpoint of a reset at the target', async () => {
      const { client, report } = await openAt('echo');
      await world.move(report, 'a', 'b');
      await b.tell('seen');
      client.resetAndDestroy();
      expect(await world.ended('b', report.id)).toMatchObject({ epoch: 2, reason: 'ECONNRESET' });
      expect(await b.tell('seen')).toEqual(['error ECONNRESET', 'close']);
    });
  });

  describe('a half-closed session', () => {
    it('moves after the client has ended and the application has not seen it', async () => {
      const { client, report } = await openAt('idle');
      client.end('bye');
      await until(async () => ((await a.session(report.id))?.readableLength ?? 0) === 3);
      await world.move(report, 'a', 'b');
      expect(await b.tell('readHash', { id: report.id })).toMatchObject({ bytes: 3 });
      await b.tell('end', { id: report.id, text: 'answer' });
      expect((await readAll(client)).toString()).toBe('answer');
      expect(await b.tell<string[]>('seen')).toContain('end');
      client.destroy();
    });

    it("moves after the application has seen the client's end, and does not hear of it again", async () => {
      const { client, report } = await openAt('idle');
      client.end('bye');
      await a.tell('readHash', { id: report.id });
      expect(await a.tell('seen')).toContain('end');
      await world.move(report, 'a', 'b');
      await b.tell('end', { id: report.id, text: 'answer' });
      expect((await readAll(client)).toString()).toBe('answer');
      await until(async () => (await b.session(report.id)) === undefined);
      expect(await b.tell('seen')).not.toContain('end');
      client.destroy();
    });

    it('moves after the application has ended, and still receives', async () => {
      const { client, report } = await openAt('idle');
      await a.tell('end', { id: report.id, text: 'first' });
      expect((await readAll(client)).toString()).toBe('first');
      await world.move(report, 'a', 'b');
      client.end('afterwards');
      expect(await b.tell('readHash', { id: report.id })).toMatchObject({ bytes: 10 });
      await until(async () => (await b.session(report.id)) === undefined);
      client.destroy();
    });

    it('moves with its own end unacknowledged', async () => {
      const { client, report } = await openAt('idle');
      world.cut();
      await a.tell('end', { id: report.id, text: 'first' });
      await new Promise((resolve) => setTimeout(resolve, 20));
      const { id } = report;
      const moveId = await world.reserveAndPrepare(report, 'a', 'b');
      const [source, target] = [await world.accessPoint.peer('a'), await world.accessPoint.peer('b')];
      await source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 });
      await target.event('thawed', moveId);
      world.net.steer('b');
      await target.ask({ t: 'activate', moveId, epoch: 2 });
      await source.ask({ t: 'release', moveId });
      expect((await readAll(client)).toString()).toBe('first');
      client.end('then');
      expect(await b.tell('readHash', { id })).toMatchObject({ bytes: 4 });
      await until(async () => (await b.session(report.id)) === undefined);
      client.destroy();
    });
  });

  describe('what the access point may ask besides', () => {
    it('learns which flows are still here, and figures of their sockets', async () => {
      const { client, report } = await openAt('echo');
      client.write('hello');
      await take(client, 5);
      const peer = await world.accessPoint.peer('a');
      const other = { ...report.flow, client: { ...report.flow.client, port: 9 } };
      expect(await peer.ask({ t: 'query', flows: [report.flow, other] })).toEqual({ owned: [true, false] });
      const { sessions } = await peer.ask({ t: 'stats', sessionIds: [report.id, 'nobody'] });
      expect(sessions).toMatchObject([{ id: report.id, rtos: 0, unreadBytes: 0 }]);
      client.destroy();
    });

    it('resets sessions', async () => {
      const { client, report } = await openAt('echo');
      const failed = new Promise<NodeJS.ErrnoException>((resolve) => client.once('error', resolve));
      const peer = await world.accessPoint.peer('a');
      expect(await peer.ask({ t: 'reset', sessionIds: [report.id] })).toEqual({ reset: 1 });
      expect((await failed).code).toBe('ECONNRESET');
    });
  });
}
