/** Sessions of two real endpoint processes, moved by a scripted access point. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { World } from './world.js';

let world: World;

beforeAll(async () => {
  world = await World.open();
});

afterEach(() => world.reset());

afterAll(() => world.close());

/** Reads exactly `bytes`. */
async function take(client: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const got = client.read(bytes) as Buffer | null;
    if (got !== null) return got;
    await once(client, 'readable');
  }
}

async function readAll(client: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of client) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe('a moved session', () => {
  it('goes on echoing at the target, and back, without a line of move code', async () => {
    const [a, b] = [await world.start('a'), await world.start('b')];
    const { client, report } = await world.open('echo');
    client.write('one');
    expect((await take(client, 3)).toString()).toBe('one');
    const moved = await world.move(report, 'a', 'b');
    client.write('two');
    expect((await take(client, 3)).toString()).toBe('two');
    expect(await a.sessions()).toEqual([]);
    expect(await b.sessions()).toMatchObject([
      { id: report.id, phase: 'live', epoch: 2, resumed: true, moves: 1 },
    ]);
    expect(await b.tell('seen')).toEqual(['resumed move 1', 'migrated from a', 'onThaw']);
    expect(await a.tell('seen')).toEqual(['opened', 'onFreeze', 'close']);
    await world.move(moved, 'b', 'a');
    client.end('three');
    expect((await readAll(client)).toString()).toBe('three');
    await (await world.accessPoint.peer('a')).event('ended');
  });
});
