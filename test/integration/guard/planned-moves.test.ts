/** Sessions at level commit whose client has ended its half: moved by plan, and killed afterwards, on the real kernel. */
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

interface Case {
  readonly client: Socket;
  readonly report: SessionReport;
  readonly a: EndpointChild;
  readonly b: EndpointChild;
  readonly got: () => string;
  readonly closedBy: () => string | undefined;
}

/** A session whose client has asked, ended its half, and waits for more. */
async function openHalf(ipv6: boolean): Promise<Case> {
  const options = { protection: { level: 'commit' as const }, applications: ['lines' as const], ipv6 };
  const [a, b] = [await world.start('a', options), await world.start('b', options)];
  world.accessPoint.publishPeers();
  const { client, report } = await world.open('lines', 'a', ipv6 ? world.net.vip6 : world.net.vip4);
  let got = '';
  let closedBy: string | undefined;
  client.on('data', (bytes: Buffer) => (got += bytes.toString('latin1')));
  client.on('end', () => (closedBy ??= 'end'));
  client.on('error', (error: NodeJS.ErrnoException) => (closedBy ??= error.code ?? 'error'));
  client.end('a\nb\n');
  const test = { client, report, a, b, got: () => got, closedBy: () => closedBy };
  await until(() => got === 'a 1\nb 2\n');
  await until(async () => (await a.tell<string[]>('seen')).includes('end'));
  return test;
}

async function until(condition: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain for ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe.each([false, true])('a session whose client has ended its half (IPv6: %s)', (ipv6) => {
  it('is moved there and back, and answers to its own end', async () => {
    const { report, a, b, got, closedBy } = await openHalf(ipv6);
    const there = await world.move(report, 'a', 'b');
    await b.tell('write', { id: report.id, text: 'there\n' });
    await until(() => got() === 'a 1\nb 2\nthere\n');
    // The client answers one probe in 500 ms, and a half-closed socket sends only the one of its activation.
    await new Promise((resolve) => setTimeout(resolve, 600));
    await world.move(there, 'b', 'a');
    await a.tell('end', { id: report.id, text: 'bye' });
    await until(() => closedBy() !== undefined);
    expect(closedBy()).toBe('end');
    expect(got()).toBe('a 1\nb 2\nthere\nbye');
  }, 60_000);

  it('is taken over from a target that dies, with all it was sent', async () => {
    const { report, a, b, got, closedBy } = await openHalf(ipv6);
    const there = await world.move(report, 'a', 'b');
    await b.tell('write', { id: report.id, text: 'there\n' });
    await until(() => got() === 'a 1\nb 2\nthere\n');
    await b.kill();
    // Nothing is held here: what came before there is a socket would be answered by a reset.
    world.net.steer('nowhere');
    world.accessPoint.publishPeers('b');
    const heir = await world.accessPoint.peer('a');
    const { id: sessionId, epoch } = there;
    await heir.ask({ t: 'take-over', moveId: world.newMoveId(), owner: 'b', sessionId, epoch: epoch + 1 });
    world.net.steer('a');
    await until(async () => (await a.session(sessionId)) !== undefined);
    expect(closedBy()).toBeUndefined();
    await a.tell('end', { id: sessionId, text: 'bye' });
    await until(() => closedBy() !== undefined);
    expect(closedBy()).toBe('end');
    expect(got()).toBe('a 1\nb 2\nthere\nbye');
  }, 60_000);
});
