/** The examples run, and their sessions move. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { Agent, type IncomingMessage, get } from 'node:http';
import { type Socket, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SessionReport } from '@restitch/wire/internal';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { readAll, take } from './streams.js';
import { World } from './world.js';

let world: World;
const directory = mkdtempSync(join(tmpdir(), 'restitch-examples-'));
const body = randomBytes(30_000_000);
const sha256 = createHash('sha256').update(body).digest('hex');

beforeAll(async () => {
  writeFileSync(join(directory, 'body'), body);
  world = await World.open();
});

afterEach(() => world.reset());

afterAll(async () => {
  await world.close();
  rmSync(directory, { recursive: true });
});

async function open(example: string): Promise<{ client: Socket; report: SessionReport }> {
  await Promise.all([
    world.startExample('a', example, directory),
    world.startExample('b', example, directory),
  ]);
  const client = connect({ host: world.net.vip4, port: 7000, allowHalfOpen: true });
  await once(client, 'connect');
  const { sessions } = await (await world.accessPoint.peer('a')).event('opened');
  return { client, report: sessions[0] as SessionReport };
}

it('echo', async () => {
  const { client, report } = await open('echo');
  client.write('before ');
  expect(await take(client, 7)).toBe('before ');
  await world.move(report, 'a', 'b');
  client.end('after');
  expect((await readAll(client)).toString()).toBe('after');
});

it('line-protocol', async () => {
  const { client, report } = await open('line-protocol');
  client.write('SET color red\nINCR n\nIN');
  expect(await take(client, 6)).toBe('red\n1\n');
  await world.move(report, 'a', 'b');
  client.write('CR n\nGET color\nGET shape\n');
  expect(await take(client, 11)).toBe('2\nred\nNONE\n');
  client.destroy();
});

it('http-file', async () => {
  const { client, report } = await open('http-file');
  client.write('GET /body HTTP/1.1\r\nhost: x\r\n\r\n');
  await once(client, 'readable');
  const moved = await world.move(report, 'a', 'b');
  const all = readAll(client);
  await world.move(moved, 'b', 'a');
  const response = await all;
  const head = response.indexOf('\r\n\r\n') + 4;
  expect(createHash('sha256').update(response.subarray(head)).digest('hex')).toBe(sha256);
  client.destroy();
});

it('upload-hash', async () => {
  const { client, report } = await open('upload-hash');
  client.write(body.subarray(0, 10_000_001));
  const moved = await world.move(report, 'a', 'b');
  client.write(body.subarray(10_000_001, 20_000_000));
  await world.move(moved, 'b', 'a');
  client.end(body.subarray(20_000_000));
  expect((await readAll(client)).toString()).toBe(`${sha256}\n`);
  client.destroy();
});

it('http-api', async () => {
  await Promise.all([
    world.startExample('a', 'http-api', directory),
    world.startExample('b', 'http-api', directory),
  ]);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = async (path: string): Promise<unknown> => {
    const request = get({ host: world.net.vip4, port: 7000, path, agent });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return JSON.parse(await text(response));
  };
  expect(await ask('/one')).toEqual({ path: '/one', requests: 1, by: 'a' });
  const { sessions } = await (await world.accessPoint.peer('a')).event('opened');
  const moved = await world.move(sessions[0] as SessionReport, 'a', 'b');
  expect(await ask('/two')).toEqual({ path: '/two', requests: 2, by: 'b' });
  // Asked while it is moved: answered first, by the server that has the request.
  const asked = ask('/three');
  await world.move(moved, 'b', 'a');
  expect(await asked).toMatchObject({ path: '/three', requests: 3 });
  expect(await ask('/four')).toEqual({ path: '/four', requests: 4, by: 'a' });
  agent.destroy();
});
