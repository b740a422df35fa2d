/** A deterministic server is killed in mid-stream: its heir runs over the input again, and the client notices nothing. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { SessionReport } from '@restitch/wire/internal';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type EndpointChild, World } from '../endpoint/world.js';

let world: World;
beforeAll(async () => {
  world = await World.open();
});
afterEach(() => world.reset());
afterAll(() => world.close());

type App = 'running' | 'moody';

interface Case {
  readonly client: Socket;
  readonly report: SessionReport;
  readonly a: EndpointChild;
  readonly b: EndpointChild;
  readonly got: () => string;
  readonly closedBy: () => string | undefined;
}

async function open(app: App, logBoundBytes: number): Promise<Case> {
  const protection = { level: 'commit' as const, replay: true, logBoundBytes };
  const options = { protection, applications: [app] };
  const [a, b] = [await world.start('a', options), await world.start('b', options)];
  world.accessPoint.publishPeers();
  const { client, report } = await world.open(app);
  let got = '';
  let closedBy: string | undefined;
  client.on('data', (bytes: Buffer) => (got += bytes.toString('latin1')));
  client.on('end', () => (closedBy ??= 'end'));
  client.on('error', (error: NodeJS.ErrnoException) => (closedBy ??= error.code ?? 'error'));
  return { client, report, a, b, got: () => got, closedBy: () => closedBy };
}

async function until(condition: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain for ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function crash({ a, report }: Case): Promise<void> {
  await a.kill();
  // Nothing is held here: what came before there is a socket would be answered by a reset.
  world.net.steer('nowhere');
  world.accessPoint.publishPeers('a');
  const buddy = await world.accessPoint.peer('b');
  const { id: sessionId, epoch } = report;
  await buddy.ask({ t: 'take-over', moveId: world.newMoveId(), owner: 'a', sessionId, epoch: epoch + 1 });
  world.net.steer('b');
}

/** What the application of app.mjs answers to lines 0 … count − 1. */
function answers(count: number): string {
  let sum = 0;
  let out = '';
  for (let i = 0; i < count; i++) {
    const line = lineOf(i);
    sum = (Math.imul(sum, 31) + line.length * 7 + i + 1) >>> 0;
    out += `${line} ${sum}\n`;
  }
  return `${out}bye ${sum}\n`;
}

/** −1 if both are the same; two long texts side by side help nobody. */
function firstDifference(a: string, b: string): number {
  if (a === b) return -1;
  for (let i = 0; ; i++) if (a[i] !== b[i]) return i;
}

const lineOf = (i: number): string => `line ${i} ${'x'.repeat(i % 37)}`;

/** Sends lines on and on, some of them in pieces; ends after `count`. */
async function send(client: Socket, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const line = `${lineOf(i)}\n`;
    client.write(line.slice(0, i % 5));
    client.write(line.slice(i % 5));
    if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  client.end();
}

describe('with replay', () => {
  // 1 KiB: snapshots all along. 4 MiB: none, the heir begins with the first byte.
  it.each([1024, 4 * 1024 * 1024])(
    'a server whose state stands in its closures goes on with every byte (log bound %s)',
    async (logBoundBytes) => {
      const count = 6000;
      const test = await open('running', logBoundBytes);
      const sent = send(test.client, count);
      await until(() => test.got().length > 40_000);
      await crash(test);
      await sent;
      await until(() => test.closedBy() !== undefined, 30_000);
      expect(await test.b.tell('lost')).toEqual([]);
      expect(test.closedBy()).toBe('end');
      expect(firstDifference(test.got(), answers(count))).toBe(-1);
      expect(await test.b.tell('seen')).toContain('resumed failover 0');
    },
    90_000,
  );

  // 1 KiB: the last snapshot is near. 4 MiB: there is none, and the target runs over everything.
  it.each([1024, 4 * 1024 * 1024])(
    'such a server is moved while it talks, to its buddy and back, and then killed (log bound %s)',
    async (logBoundBytes) => {
      const count = 6000;
      const test = await open('running', logBoundBytes);
      const sent = send(test.client, count);
      await until(() => test.got().length > 20_000);
      let report = await world.move(test.report, 'a', 'b');
      await until(() => test.got().length > 60_000);
      report = await world.move(report, 'b', 'a');
      await until(() => test.got().length > 100_000);
      await crash({ ...test, report });
      await sent;
      await until(() => test.closedBy() !== undefined, 30_000);
      expect(await test.b.tell('lost')).toEqual([]);
      expect(test.closedBy()).toBe('end');
      expect(firstDifference(test.got(), answers(count))).toBe(-1);
      const seen = await test.b.tell<string[]>('seen');
      expect(seen).toContain('resumed move 1');
      expect(seen).toContain('resumed failover 2');
    },
    90_000,
  );

  it('a server that answers otherwise now is not heard: its client is reset', async () => {
    const test = await open('moody', 4 * 1024 * 1024);
    test.client.write('a\nb\n');
    await once(test.client, 'data');
    await until(() => test.got().split('\n').length === 3);
    const before = test.got();
    await crash(test);
    await until(() => test.closedBy() !== undefined);
    expect(test.closedBy()).toBe('ECONNRESET');
    expect(test.got()).toBe(before);
    const lost = await test.b.tell<Array<{ id: string; reason: string }>>('lost');
    expect(lost).toMatchObject([{ id: test.report.id, reason: 'replay' }]);
    expect(await test.b.tell('seen')).toContain('error app_refused');
    expect(before).not.toBe('');
  }, 60_000);

  it('a session whose application makes no snapshot stops reading at the bound, and goes on with one', async () => {
    const protection = {
      level: 'commit' as const,
      replay: true,
      sessionBoundBytes: 64 * 1024,
      logBoundBytes: 1024,
    };
    const a = await world.start('a', { protection, applications: ['idle'] });
    await world.start('b', { protection, applications: ['idle'] });
    world.accessPoint.publishPeers();
    const { client, report } = await world.open('idle');
    const total = 512 * 1024;
    const hashed = a.tell<{ bytes: number }>('readHash', { id: report.id });
    client.end(Buffer.alloc(total, 'z'));
    const read = async (): Promise<number> => (await a.session(report.id))?.bytesRead ?? 0;
    await until(async () => (await read()) >= 64 * 1024);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await read()).toBeLessThan(256 * 1024);
    const snapshots = setInterval(() => void a.tell('commit', { id: report.id }).catch(() => undefined), 20);
    expect((await hashed).bytes).toBe(total);
    clearInterval(snapshots);
  }, 60_000);
});
