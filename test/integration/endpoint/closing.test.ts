/**
 * Sessions whose application is through while their client lacks something: moved, taken over, bounded, waited for at a stop.
 * At every level, on the real kernel.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { SessionReport } from '@restitch/wire/internal';
import type { SyscallError } from '@restitch/sys';
import { closeFd, listTcpSockets } from '@restitch/sys';
import {
  connectSocket,
  familyOf,
  getLocalAddress,
  openTcpSocket,
  receiveBytes,
  sendBytes,
  tcpState,
} from '@restitch/sys/internal';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readAll, until } from './streams.js';
import { type ChildOptions, type EndpointChild, ports, World } from './world.js';

let world: World;
beforeAll(async () => {
  world = await World.open();
});
afterEach(() => world.reset());
afterAll(() => world.close());

const levels: Readonly<Record<string, ChildOptions>> = {
  'no guard': {},
  none: { protection: { level: 'none' } },
  periodic: { protection: { level: 'periodic', intervalMs: 50 } },
  commit: { protection: { level: 'commit' } },
};

/** More than a client's kernel takes while nobody reads. */
const tailBytes = 100_000;

interface Tail {
  readonly client: Socket;
  readonly report: SessionReport;
  readonly a: EndpointChild;
  readonly b: EndpointChild;
  /** All that was written. */
  readonly bytes: number;
}

async function start(options: ChildOptions): Promise<{ a: EndpointChild; b: EndpointChild }> {
  const both = { applications: ['lines' as const, 'idle' as const], ...options };
  const [a, b] = [await world.start('a', both), await world.start('b', both)];
  if (options.protection !== undefined) world.accessPoint.publishPeers();
  return { a, b };
}

/** The client has ended its half and does not read; the server has written everything and ended, or destroyed. */
async function openTail(options: ChildOptions, how: 'end' | 'destroy', isClientEnded = true): Promise<Tail> {
  const { a, b } = await start(options);
  const { client, report } = await world.open('lines', 'a');
  if (isClientEnded) {
    client.end();
    await until(async () => (await a.tell<string[]>('seen')).includes('end'));
  }
  const bytes = await fill(a, report.id);
  await a.tell(how, { id: report.id });
  await until(async () => (await a.tell<string[]>('seen')).includes('close'));
  await until(async () => (await a.session(report.id))?.phase === 'closing');
  return { client, report, a, b, bytes };
}

/** Writes until the client takes no more and the rest stands in the server's kernel. Returns how much that is. */
async function fill(a: EndpointChild, id: string): Promise<number> {
  const pieceBytes = 10_000;
  for (let bytes = pieceBytes; ; bytes += pieceBytes) {
    await a.tell('writeMany', { id, bytes: pieceBytes });
    await until(async () => (await a.session(id))?.writableLength === 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    if ((await residueOf('a')).bytes >= 2 * pieceBytes) return bytes;
  }
}

function fdOf(client: Socket): number {
  return (client as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
}

/** By bare calls: libuv takes a hang-up behind a partial read for the end, whatever the socket would say. */
async function readBare(client: Socket | number): Promise<{ bytes: number; end: string }> {
  const fd = typeof client === 'number' ? client : fdOf(client);
  const into = Buffer.alloc(65_536);
  for (let bytes = 0; ; ) {
    try {
      const got = receiveBytes(fd, into);
      if (got === 0) return { bytes, end: 'end' };
      if (got > 0) bytes += got;
      else await new Promise((resolve) => setTimeout(resolve, 5));
    } catch (error) {
      return { bytes, end: (error as SyscallError).errnoName };
    }
  }
}

/** A client of which Node knows nothing, so that no byte of it is read and no error taken beforehand. */
async function openBare(): Promise<{ fd: number; report: SessionReport }> {
  const peer = await world.accessPoint.peer('a');
  const fd = openTcpSocket(familyOf(world.net.vip4));
  connectSocket(fd, familyOf(world.net.vip4), { address: world.net.vip4, port: ports.idle });
  for (;;) {
    const { sessions } = await peer.event('opened');
    const report = sessions.find((session) => session.flow.client.port === getLocalAddress(fd).port);
    if (report !== undefined) return { fd, report };
  }
}

async function residueOf(name: 'a' | 'b'): Promise<{ sockets: number; bytes: number }> {
  const peer = await world.accessPoint.peer(name);
  return (await peer.ask({ t: 'residue' })) as { sockets: number; bytes: number };
}

describe.each(Object.entries(levels))('a session that its application has ended (%s)', (level, options) => {
  it.each(['end', 'destroy'] as const)(
    'by %s() lives on until its client has everything, and moves without an application',
    async (how) => {
      const { client, report, a, b, bytes } = await openTail(options, how);
      const told = await (await world.accessPoint.peer('a')).event('closing');
      expect(told.sessions[0]).toMatchObject({
        id: report.id,
        closing: { finisher: level === 'commit' ? 'successor' : 'kernel' },
      });
      expect(told.sessions[0]?.closing.tailBytes).toBeGreaterThan(1000);
      expect(await residueOf('a')).toMatchObject({ sockets: 1 });
      const there = await world.move(report, 'a', 'b');
      expect(await a.session(report.id)).toBeUndefined();
      expect(await residueOf('a')).toEqual({ sockets: 0, bytes: 0 });
      expect(await b.session(report.id)).toMatchObject({ phase: 'closing' });
      await world.move(there, 'b', 'a');
      expect(await b.tell<string[]>('seen')).toEqual([]);
      // A window that is closed is asked for, and nothing sent into it: that would be resent by ever longer timeouts.
      await new Promise((resolve) => setTimeout(resolve, 2500));
      const beganMs = performance.now();
      const got = await readAll(client);
      expect(performance.now() - beganMs).toBeLessThan(1000);
      expect(got.equals(Buffer.alloc(bytes, 'w'))).toBe(true);
      expect(await world.ended('a', report.id)).toMatchObject({ reason: 'closed' });
      expect(await a.session(report.id)).toBeUndefined();
      expect(await residueOf('a')).toEqual({ sockets: 0, bytes: 0 });
    },
    15_000,
  );

  it.skipIf(level === 'commit')(
    'and that was moved lately is finished by its kernel, however long its client reads nothing',
    async () => {
      const { client, report, b, bytes } = await openTail(options, 'end');
      await world.move(report, 'a', 'b');
      // All of it is in the kernel, in front of a window that is shut.
      await until(async () => (await residueOf('b')).bytes > 0);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await b.kill();
      await new Promise((resolve) => setTimeout(resolve, 6000));
      expect((await readAll(client)).length).toBe(bytes);
    },
    20_000,
  );

  it('and whose client sends what nobody will read gets its rest, and then a reset', async () => {
    const { a } = await start(options);
    const { fd, report } = await openBare();
    // More than Node reads ahead.
    const upload = setInterval(() => sendBytes(fd, Buffer.alloc(65_536, 'u')), 10);
    await a.tell('writeMany', { id: report.id, bytes: tailBytes });
    await until(async () => (await a.session(report.id))?.writableLength === 0);
    // What Node has read is acknowledged in turns, at level commit; then the rest stands in the kernel.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    clearInterval(upload);
    await a.tell('destroy', { id: report.id });
    expect(await readBare(fd)).toEqual({ bytes: tailBytes, end: 'ECONNRESET' });
    closeFd(fd);
    expect(await world.ended('a', report.id)).toMatchObject({ reason: 'unread_input' });
  }, 15_000);

  it('is reset when the operator says so, though its kernel would send none in LAST_ACK', async () => {
    const { client, report } = await openTail(options, 'end');
    const peer = await world.accessPoint.peer('a');
    expect(await peer.ask({ t: 'reset', sessionIds: [report.id] })).toEqual({ reset: 1 });
    expect(await readBare(client)).toMatchObject({ end: 'ECONNRESET' });
    expect(await world.ended('a', report.id)).toMatchObject({ reason: 'drain_deadline' });
  }, 15_000);

  it('is reset by name when its client acknowledges nothing for too long', async () => {
    const bounded = { ...options, closing: { timeoutMs: 400 } };
    const { client, report } = await openTail(bounded, 'end');
    expect(await world.ended('a', report.id)).toMatchObject({ reason: 'closing_timeout' });
    expect(await readBare(client)).toMatchObject({ end: 'ECONNRESET' });
  }, 15_000);

  it('is waited for by SIGTERM, and the process ends by itself behind it', async () => {
    const { client, a, bytes } = await openTail(options, 'end');
    const exit = once(a.process, 'exit');
    a.process.kill('SIGTERM');
    expect(await (await world.accessPoint.peer('a')).event('leaving')).toMatchObject({ on: true });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(a.process.exitCode).toBeNull();
    expect((await readAll(client)).length).toBe(bytes);
    expect(await exit).toEqual([0, null]);
  }, 15_000);
});

describe('a session at level commit whose application has ended it', () => {
  it.each(['end', 'destroy'] as const)(
    'by %s() is delivered by the buddy of a process that is killed, without an application',
    async (how) => {
      const { client, report, a, b, bytes } = await openTail(levels['commit'] ?? {}, how);
      await new Promise((resolve) => setTimeout(resolve, 100));
      await a.kill();
      world.net.steer('nowhere');
      world.accessPoint.publishPeers('a');
      const heir = await world.accessPoint.peer('b');
      const { id: sessionId, epoch } = report;
      await heir.ask({ t: 'take-over', moveId: world.newMoveId(), owner: 'a', sessionId, epoch: epoch + 1 });
      world.net.steer('b');
      const got = await readAll(client);
      expect(got.equals(Buffer.alloc(bytes, 'w'))).toBe(true);
      expect(await b.tell<string[]>('seen')).toEqual([]);
      expect(await world.ended('b', report.id)).toMatchObject({ reason: 'closed' });
    },
    15_000,
  );

  it('is ended, not lost, for a client that has everything and is gone', async () => {
    const { a } = await start(levels['commit'] ?? {});
    const { client, report } = await world.open('lines', 'a');
    client.end();
    await until(async () => (await a.tell<string[]>('seen')).includes('end'));
    // Nothing that the client acknowledges is heard any more.
    world.net.steer('nowhere');
    const gone = readAll(client);
    await a.tell('end', { id: report.id, text: 'all there is' });
    expect((await gone).toString()).toBe('all there is');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await a.kill();
    world.accessPoint.publishPeers('a');
    const heir = await world.accessPoint.peer('b');
    const { id: sessionId, epoch } = report;
    await heir.ask({ t: 'take-over', moveId: world.newMoveId(), owner: 'a', sessionId, epoch: epoch + 1 });
    world.net.steer('b');
    expect((await world.ended('b', report.id)).reason).toMatch(/closed|ECONNRESET/);
  }, 15_000);

  it('first, without a buddy, acknowledges what its client sends last', async () => {
    const a = await world.start('a', { applications: ['lines', 'idle'], ...levels.commit });
    const { client, report } = await world.open('lines', 'a');
    await a.tell('end', { id: report.id });
    client.resume();
    await once(client, 'end');
    client.end('the last line\n');
    await world.ended('a', report.id);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const left = world.net.inside('client', () => listTcpSockets([tcpState.lastAck]));
    expect(left).toEqual([]);
  }, 15_000);
});
