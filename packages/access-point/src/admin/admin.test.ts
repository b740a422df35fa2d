/** The admin socket with its real server and client, over a daemon core with endpoints in memory. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@restitch/core';
import type { AdminCall, AnswerTo } from '@restitch/wire';
import { maxAdminRequestBytes } from '@restitch/wire/internal';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openAdminClient } from './admin-client.js';
import type { AdminClient } from './admin-client.js';
import { createAdminHandler } from './admin-commands.js';
import { openAdminServer } from './admin-server.js';
import type { AdminServer } from './admin-server.js';
import { testConfig } from '../testing/test-config.js';
import { World } from '../testing/world.js';

let directory = '';
let world: World;
let server: AdminServer;
let client: AdminClient;
const path = (): string => join(directory, 'admin.sock');

async function openAll(more = ''): Promise<void> {
  world = new World(testConfig(directory, more), ['a', 'b']);
  for (const name of ['a', 'b']) world.connect(name);
  await world.settle();
  server = await openAdminServer(path(), createAdminHandler(world.core.state), silentLogger);
  client = await openAdminClient(path());
}

/** The answer, while the world goes on. */
async function call<C extends AdminCall['cmd']>(request: AdminCall<C>): Promise<AnswerTo<C>> {
  let isDone = false;
  const answer = client.call(request).finally(() => {
    isDone = true;
  });
  answer.catch(() => undefined);
  while (!isDone) {
    await world.settle();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return answer;
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-admin-'));
});
afterEach(async () => {
  client?.close();
  await server?.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('the admin socket', () => {
  it('is its owner`s alone', async () => {
    await openAll();
    expect(statSync(path()).mode & 0o777).toBe(0o600);
  });

  it('refuses a second daemon at the same path, and takes over the path of a dead one', async () => {
    await openAll();
    await expect(openAdminServer(path(), () => Promise.resolve(null), silentLogger)).rejects.toMatchObject({
      code: 'syscall_failed',
    });
    await server.close();
    const handle = createAdminHandler(world.core.state);
    const renamed: typeof handle = async (...given) => ({
      ...((await handle(...given)) as object),
      name: 'new',
    });
    server = await openAdminServer(path(), renamed, silentLogger);
    client = await openAdminClient(path());
    expect(await client.call({ cmd: 'status' })).toMatchObject({ name: 'new' });
  });

  it('says with a code what is wrong with a request, and goes on', async () => {
    await openAll();
    await expect(call({ cmd: 'session', id: 'nobody' })).rejects.toMatchObject({ code: 'unknown_session' });
    await expect(call({ cmd: 'drain', endpoint: 'nowhere' })).rejects.toMatchObject({
      code: 'unknown_endpoint',
    });
    await expect(call({ cmd: 'dance' } as never)).rejects.toMatchObject({ code: 'message_invalid' });
    expect(await call({ cmd: 'status' })).toMatchObject({ name: 'ap', endpoints: 2, isRebuilding: false });
  });

  it.each(['not json', '{"id":1}', '[]', 'null', '{"id":"x","request":{"cmd":"status"}}'])(
    'answers %j with an error',
    async (line) => {
      await openAll();
      const answer = await new Promise<string>((resolve) => {
        const socket = connect(path(), () => socket.write(`${line}\n`));
        socket.once('data', (data) => {
          socket.destroy();
          resolve(data.toString());
        });
      });
      expect(JSON.parse(answer)).toMatchObject({ error: { code: 'message_invalid' } });
    },
  );

  it('refuses a line that is too long by its bound, and ends the connection', async () => {
    await openAll();
    const said = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(path(), () => {
        socket.write('x'.repeat(maxAdminRequestBytes + 1));
        socket.on('data', (data) => void (text += data.toString()));
        socket.on('end', () => resolve(text));
      });
    });
    expect(JSON.parse(said)).toMatchObject({
      id: 0,
      error: {
        code: 'message_invalid',
        message: `admin socket: a line has more than ${maxAdminRequestBytes} bytes`,
      },
    });
    expect(await call({ cmd: 'status' })).toMatchObject({ name: 'ap' });
  });

  it('answers every command as the schema of its answer says', async () => {
    await openAll();
    const id = world.open('a');
    await world.settle();
    await call({ cmd: 'migrate', id });
    await call({ cmd: 'notice', endpoint: 'b', what: 'maintenance', inMs: 1000 });
    const drain = await call({ cmd: 'drain', endpoint: 'a' });
    expect(drain).toMatchObject({ endpoint: 'a' });
    const [endpoint] = await call({ cmd: 'endpoints' });
    expect(endpoint).toMatchObject({
      liveness: 'healthy',
      features: ['image-1', 'tcp-repair'],
      draining: { endpoint: 'a', state: 'draining' },
    });
    expect(await call({ cmd: 'notices' })).toMatchObject([
      { endpoint: 'b', from: 'operator' },
      { endpoint: 'a', from: 'drain' },
    ]);
    expect(await call({ cmd: 'notice', endpoint: 'b', cancel: true })).toEqual({
      endpoint: 'b',
      cancelled: true,
    });
    expect(await call({ cmd: 'stats', endpoint: 'b' })).toEqual({ endpoint: 'b', sessions: [] });
    expect(await call({ cmd: 'take-overs' })).toEqual([]);
    expect(await call({ cmd: 'session-take-overs' })).toEqual([]);
    expect(await call({ cmd: 'undrain', endpoint: 'a' })).toMatchObject({ name: 'a', drain: 'none' });
    expect(await call({ cmd: 'recommend', moves: [] })).toEqual({ queued: 0 });
    expect(await call({ cmd: 'clients.forget', prefix: '10.0.0.0/8' })).toMatchObject({
      prefix: '10.0.0.0/8',
    });
  });

  it('answers byte for byte what stands in the vectors', async () => {
    const file = new URL('../../../wire/vectors/admin.json', import.meta.url);
    const pairs = JSON.parse(readFileSync(file, 'utf8')) as Array<{
      name: string;
      request: string;
      answer: string;
    }>;
    await openAll();
    expect(world.open('a')).toBe('s1');
    await world.settle();
    let said = '';
    const socket = connect(path()).on('data', (data) => void (said += data.toString()));
    for (const { name, request, answer } of pairs) {
      said = '';
      socket.write(`${request}\n`);
      while (!said.endsWith('\n')) {
        await world.settle();
        await new Promise((resolve) => setImmediate(resolve));
      }
      // Of the machine's own figures only the place is fixed.
      const fixed = (line: string): string =>
        name === 'status'
          ? line.replace(/"pid":\d+/, '"pid":0').replace(/"memory":\{[^}]*\}/, '"memory":0')
          : line;
      expect(fixed(said.trimEnd()), name).toBe(fixed(answer));
    }
    socket.destroy();
  });

  it('says which part of an answer of another version is not as expected', async () => {
    await openAll();
    await server.close();
    server = await openAdminServer(path(), () => Promise.resolve({ sessions: [{ id: 7 }] }), silentLogger);
    client = await openAdminClient(path());
    const asked = client.call({ cmd: 'sessions' });
    await expect(asked).rejects.toMatchObject({ code: 'version_unsupported' });
    await expect(asked).rejects.toThrow(/total, sessions\.0\.id/);
  });

  it('rejects what waits when the daemon ends', async () => {
    await openAll();
    const waiting = client.call({ cmd: 'watch' });
    waiting.catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await server.close();
    await expect(waiting).rejects.toMatchObject({ code: 'peer_lost' });
  });
});

describe('its commands', () => {
  it('move a session and tell its story', async () => {
    await openAll();
    const id = world.open('a');
    await world.settle();
    const { attempts, move } = await call({ cmd: 'migrate', id, target: 'b' });
    expect(attempts).toBe(1);
    expect(move).toMatchObject({ outcome: 'committed', source: 'a', target: 'b' });
    expect(move.switchNs).toBeGreaterThanOrEqual(move.holdNs);
    const story = await call({ cmd: 'session', id });
    expect(story).toMatchObject({
      session: { id, endpoint: 'b', epoch: 1, moves: 1 },
      record: { endpoint: 'b', epoch: 1, phase: 'active' },
      moves: [{ sessionId: id, outcome: 'committed' }],
    });
    expect(await call({ cmd: 'moves', since: 0 })).toMatchObject({ lastSeq: 1, moves: [{ seq: 1 }] });
    expect(await call({ cmd: 'moves', since: 1 })).toMatchObject({ lastSeq: 1, moves: [] });
  });

  it('keep the story of a session that has ended', async () => {
    await openAll();
    const id = world.open('a');
    await world.settle();
    await call({ cmd: 'migrate', id });
    world.endpoint('b').end(id);
    await world.settle();
    expect(await call({ cmd: 'session', id })).toMatchObject({
      session: null,
      moves: [{ outcome: 'committed' }],
    });
  });

  it('list sessions page by page, of all or of one endpoint', async () => {
    await openAll();
    for (let i = 0; i < 5; i++) world.open(i < 3 ? 'a' : 'b');
    await world.settle();
    const page = async (args: object): Promise<readonly unknown[]> =>
      (await call({ cmd: 'sessions', ...args })).sessions;
    expect((await page({})).length).toBe(5);
    expect((await page({ limit: 2 })).length).toBe(2);
    expect((await page({ offset: 4, limit: 2 })).length).toBe(1);
    expect((await page({ endpoint: 'a' })).length).toBe(3);
  });

  it('tell of closing sessions with what their clients lack', async () => {
    await openAll();
    const [open, id] = [world.open('a'), world.open('a')];
    await world.settle();
    world.endpoint('a').close(id, 74_201);
    await world.settle();
    const { sessions } = await call({ cmd: 'sessions' });
    expect(sessions.find((s) => s.id === open)).toMatchObject({ phase: 'live', tailBytes: null });
    const closing = { id, phase: 'closing', tailBytes: 74_201, isFinishing: false };
    expect(sessions.find((s) => s.id === id)).toMatchObject(closing);
    expect(await call({ cmd: 'session', id })).toMatchObject({ session: closing });
    expect(await call({ cmd: 'status' })).toMatchObject({ sessions: 2, closing: 1 });
  });

  it('stream what happens', async () => {
    await openAll();
    const events: Array<{ t: string }> = [];
    const watching = client.call({ cmd: 'watch' }, (event) => void events.push(event));
    watching.catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const other = await openAdminClient(path());
    const id = world.open('a');
    await world.settle();
    world.core.state.coordinator.request({ sessionId: id, origin: 'manual' }, () => undefined);
    await world.settle();
    world.endpoint('b').end(id);
    world.cut('a');
    await world.settle();
    for (let i = 0; i < 100 && events.length < 4; i++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    other.close();
    expect(events.map((e) => e.t).sort()).toEqual(['ended', 'endpoint', 'move', 'opened']);
  });

  it('queue recommendations up to the bound', async () => {
    await openAll('moves: {maxQueued: 2}');
    const moves = Array.from({ length: 3 }, (_, i) => ({ id: `s${i}` }));
    await expect(call({ cmd: 'recommend', moves })).rejects.toMatchObject({ code: 'no_capacity' });
  });

  it('pause a move only in a laboratory', async () => {
    await openAll();
    expect(await call({ cmd: 'pause', step: 'freeze' })).toEqual({
      pausedAt: ['freezing', 'backing-off', 'thawed-first'],
    });
    await call({ cmd: 'resume' });
    Object.assign(world.core.state.config(), { isLab: false });
    await expect(call({ cmd: 'pause', step: 'freeze' })).rejects.toMatchObject({ code: 'forbidden' });
  });
});
