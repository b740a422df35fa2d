/** What levels none and periodic promise when a server is killed, on the real kernel, with an unmodified client. */
import { type Socket } from 'node:net';
import type { SessionReport } from '@restitch/wire/internal';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { EndpointName } from '../two-endpoints.js';
import { type Application, type EndpointChild, World } from '../endpoint/world.js';

let world: World;
beforeAll(async () => {
  world = await World.open();
});
afterEach(() => world.reset());
afterAll(() => world.close());

/** Never due within a test: only the first checkpoint, and those the application asks for. */
const seldomMs = 3_600_000;

interface Case {
  readonly client: Socket;
  readonly report: SessionReport;
  readonly a: EndpointChild;
  readonly b: EndpointChild;
  readonly got: () => string;
  /** `end`, an error code, or undefined while the client knows nothing. */
  readonly closedBy: () => string | undefined;
}

async function open(application: Application, intervalMs: number, ipv6 = false): Promise<Case> {
  const options = { protection: { level: 'periodic' as const, intervalMs }, ipv6 };
  const [a, b] = [await world.start('a', options), await world.start('b', options)];
  world.accessPoint.publishPeers();
  const { client, report } = await world.open(application, 'a', ipv6 ? world.net.vip6 : world.net.vip4);
  let got = '';
  let closedBy: string | undefined;
  client.on('data', (bytes: Buffer) => (got += bytes.toString('latin1')));
  client.on('end', () => (closedBy ??= 'end'));
  client.on('error', (error: NodeJS.ErrnoException) => (closedBy ??= error.code ?? 'error'));
  await stored(report, 1);
  return { client, report, a, b, got: () => got, closedBy: () => closedBy };
}

async function waitFor(condition: () => boolean | Promise<boolean>, limitMs = 10_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain for ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits until the buddy has checkpoint `n`, or a newer one. */
async function stored(report: SessionReport, n: number, owner: EndpointName = 'a'): Promise<void> {
  const buddy = await world.accessPoint.peer(owner === 'a' ? 'b' : 'a');
  for (let i = 0; i < 500; i++) {
    const { replicas } = await buddy.ask({ t: 'replicas', owner });
    const found = (replicas as Array<{ id: string; epoch: number; n: number }>).find(
      (r) => r.id === report.id && r.epoch === report.epoch,
    );
    if ((found?.n ?? 0) >= n) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`checkpoint ${n} did not reach the buddy`);
}

/** The endpoint dies without a word, and its buddy is told to go on. */
async function crash({ report, ...test }: Case, owner: EndpointName = 'a'): Promise<void> {
  const heir = owner === 'a' ? 'b' : 'a';
  await test[owner].kill();
  world.net.steer(heir);
  const buddy = await world.accessPoint.peer(heir);
  const { id: sessionId, epoch } = report;
  await buddy.ask({ t: 'take-over', moveId: world.newMoveId(), owner, sessionId, epoch: epoch + 1 });
}

async function lostOf(b: EndpointChild): Promise<Record<string, unknown>> {
  let all: Array<Record<string, unknown>> = [];
  for (let i = 0; i < 500 && all.length === 0; i++) {
    all = await b.tell('lost');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return all[0] ?? {};
}

describe.each([false, true])('level periodic (IPv6: %s)', (ipv6) => {
  it('goes on with a client that was quiet since the checkpoint', async () => {
    const test = await open('lines', 50, ipv6);
    test.client.write('a\nb\n');
    await waitFor(() => test.got() === 'a 1\nb 2\n');
    await stored(test.report, 2);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await crash(test);
    await waitFor(async () => (await test.b.session(test.report.id)) !== undefined, 10_000);
    test.client.write('c\n');
    await waitFor(() => test.got() === 'a 1\nb 2\nc 3\n');
    expect(test.closedBy()).toBeUndefined();
    expect(await test.b.tell('seen')).toContain('resumed failover 0');
  }, 60_000);

  it.each([
    [
      'sent',
      'idle',
      (t: Case): void => void t.client.write('x'),
      { clientSentBytes: 1, clientReceivedBytes: 0 },
    ],
    [
      'received',
      'idle',
      (t: Case): void => void t.a.tell('write', { id: t.report.id, text: 'news' }),
      { clientSentBytes: 0, clientReceivedBytes: 4 },
    ],
    [
      'sent and received',
      'lines',
      (t: Case): void => void t.client.write('a\n'),
      { clientSentBytes: 2, clientReceivedBytes: 4 },
    ],
  ] as const)(
    'resets a client that has %s something since, and serves it nothing',
    async (_what, application, act, expected) => {
      const test = await open(application, seldomMs, ipv6);
      act(test);
      await waitFor(
        async () => (await passedBytes(test)) >= expected.clientSentBytes + expected.clientReceivedBytes,
      );
      const before = test.got();
      await crash(test);
      await waitFor(() => test.closedBy() !== undefined, 10_000);
      expect(test.closedBy()).toBe('ECONNRESET');
      expect(test.got()).toBe(before);
      expect(await lostOf(test.b)).toMatchObject({ id: test.report.id, reason: 'contradicted', ...expected });
      expect(await test.b.session(test.report.id)).toBeUndefined();
      const ended = await world.ended('b', test.report.id);
      expect(ended.reason).toContain('contradicted');
    },
    60_000,
  );

  it('has checkpoints of a session that was moved', async () => {
    const test = await open('lines', 50, ipv6);
    test.client.write('a\n');
    await waitFor(() => test.got() === 'a 1\n');
    const report = await world.move(test.report, 'a', 'b');
    test.client.write('b\n');
    await waitFor(() => test.got() === 'a 1\nb 2\n');
    await stored(report, 2, 'b');
    await new Promise((resolve) => setTimeout(resolve, 200));
    await crash({ ...test, report }, 'b');
    await waitFor(async () => (await test.a.session(report.id)) !== undefined);
    test.client.write('c\n');
    await waitFor(() => test.got() === 'a 1\nb 2\nc 3\n');
    expect(test.closedBy()).toBeUndefined();
  }, 60_000);

  it('has a checkpoint where the application asks for one', async () => {
    const test = await open('lines', seldomMs, ipv6);
    test.client.write('a\n');
    await waitFor(() => test.got() === 'a 1\n');
    const n = await test.a.tell<number>('commit', { id: test.report.id });
    await test.a.tell('committed', { id: test.report.id, n });
    await crash(test);
    await waitFor(async () => (await test.b.session(test.report.id)) !== undefined, 10_000);
    test.client.write('b\n');
    await waitFor(() => test.got() === 'a 1\nb 2\n');
    // The numbers go on where the dead owner's ended.
    expect(await test.b.tell<number>('commit', { id: test.report.id })).toBeGreaterThan(n);
  }, 60_000);
});

/** Bytes that have passed between client and server since the checkpoint, both ways. */
async function passedBytes({ a, report, got }: Case): Promise<number> {
  const session = await a.session(report.id);
  return (session?.bytesRead ?? 0) + (session?.readableLength ?? 0) + got().length;
}

describe('level none', () => {
  it.each([false, true])(
    'tells its client of a crash by a reset, never by a clean end (moved: %s)',
    async (isMoved) => {
      const options = { protection: { level: 'none' as const } };
      const [a, b] = [await world.start('a', options), await world.start('b', options)];
      const { client, report } = await world.open('lines');
      if (isMoved) await world.move(report, 'a', 'b');
      let closedBy: string | undefined;
      client.resume();
      client.on('end', () => (closedBy ??= 'end'));
      client.on('error', (error: NodeJS.ErrnoException) => (closedBy ??= error.code ?? 'error'));
      client.write('a\n');
      await new Promise((resolve) => setTimeout(resolve, 100));
      await (isMoved ? b : a).kill();
      await waitFor(() => closedBy !== undefined);
      expect(closedBy).toBe('ECONNRESET');
    },
    30_000,
  );

  it('lets the application end its sessions as ever, also when they were moved', async () => {
    const options = { protection: { level: 'none' as const } };
    const [, b] = [await world.start('a', options), await world.start('b', options)];
    const { client, report } = await world.open('idle');
    await world.move(report, 'a', 'b');
    let closedBy: string | undefined;
    client.resume();
    client.on('end', () => (closedBy ??= 'end'));
    client.on('error', (error: NodeJS.ErrnoException) => (closedBy ??= error.code ?? 'error'));
    await b.tell('end', { id: report.id, text: 'bye' });
    await waitFor(() => closedBy !== undefined);
    expect(closedBy).toBe('end');
  }, 30_000);
});
