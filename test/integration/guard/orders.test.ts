/** examples/orders.js: its server is killed in the middle, and each order stands in the store once. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SessionReport } from '@restitch/wire/internal';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EndpointName } from '../two-endpoints.js';
import { World } from '../endpoint/world.js';

let world: World;
const directory = mkdtempSync(join(tmpdir(), 'restitch-orders-'));
beforeAll(async () => {
  world = await World.open();
});
afterAll(async () => {
  await world.close();
  rmSync(directory, { recursive: true });
});

const count = 600;
const orderOf = (i: number): string => `order ${i} of ${(i * 7919) % 1000} pieces`;

async function until(condition: () => boolean, limitMs = 30_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain for ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

it('an order is stored once, though its server is killed in the middle', async () => {
  const options = { protection: { level: 'commit' as const } };
  const children = {
    a: await world.startExample('a', 'orders', directory, options),
    b: await world.startExample('b', 'orders', directory, options),
  };
  world.accessPoint.publishPeers();
  const client = connect({ host: world.net.vip4, port: 7000 });
  await once(client, 'connect');
  const { sessions } = await (await world.accessPoint.peer('a')).event('opened');
  const { id, epoch } = sessions[0] as SessionReport;
  let got = '';
  let closedBy: string | undefined;
  client.on('data', (bytes: Buffer) => (got += bytes.toString('latin1')));
  client.on('close', () => (closedBy = 'closed'));
  client.on('error', (error: NodeJS.ErrnoException) => (closedBy = error.code ?? 'error'));
  const answered = (): number => got.split('\n').length - 1;

  const crash = async (owner: EndpointName, heir: EndpointName, newEpoch: number): Promise<void> => {
    await children[owner].kill();
    world.net.steer('nowhere');
    world.accessPoint.publishPeers(owner);
    const buddy = await world.accessPoint.peer(heir);
    await buddy.ask({ t: 'take-over', moveId: world.newMoveId(), owner, sessionId: id, epoch: newEpoch });
    world.net.steer(heir);
  };

  for (let i = 1; i <= count; i++) {
    client.write(`${orderOf(i)}\n`);
    if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    if (i === count / 3) {
      await until(() => answered() > 20);
      await crash('a', 'b', epoch + 1);
    }
  }
  await until(() => answered() === count || closedBy !== undefined, 90_000);
  expect(closedBy).toBeUndefined();
  expect(got).toBe(Array.from({ length: count }, (_, i) => `stored ${i + 1}\n`).join(''));
  const rows = readdirSync(directory).filter((name) => !name.endsWith('.draft'));
  expect(rows).toHaveLength(count);
  for (let i = 1; i <= count; i++) {
    expect(readFileSync(join(directory, `${id}-${i}`), 'utf8')).toBe(orderOf(i));
  }
  client.destroy();
}, 180_000);
