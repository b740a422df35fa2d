/** Other versions of Node, and other versions of the application. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { describeMoves } from './move-suite.js';
import { codeOf, readAll, take, until } from './streams.js';
import { thawed } from './fake-access-point.js';
import { World } from './world.js';

const nodeFile = (name: string): string =>
  fileURLToPath(new URL(`../../node-versions/node_modules/${name}/bin/node`, import.meta.url));

// scripts/test.sh installs them; a bare vitest in a fresh clone does without.
for (const name of ['node24', 'node26']) {
  describe.skipIf(!existsSync(nodeFile(name)))(`on ${name}`, () => describeMoves({ node: nodeFile(name) }));
}

describe('a session of another version of the application', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.open();
  });

  afterEach(() => world.reset());

  afterAll(() => world.close());

  it('is moved from v1 to v2 through upgradeState', async () => {
    const [, b] = [
      await world.start('a', { version: '1' }),
      await world.start('b', { version: '2', upgradeState: true }),
    ];
    const { client, report } = await world.open('lines');
    client.write('one\n');
    expect(await take(client, 6)).toBe('one 1\n');
    await world.move(report, 'a', 'b');
    expect(await b.session(report.id)).toMatchObject({
      state: { count: 1, rest: '', upgradedFrom: '1' },
      resumed: true,
    });
    client.write('two\n');
    expect(await take(client, 6)).toBe('two 2\n');
  });

  it('is refused before anything is frozen where nothing accepts it', async () => {
    await Promise.all([world.start('a', { version: '1' }), world.start('b', { version: '2' })]);
    const { report } = await world.open('lines');
    expect(await codeOf(world.reserveAndPrepare(report, 'a', 'b'))).toBe('app_refused');
  });

  it('stays where it is when its state cannot be upgraded', async () => {
    await Promise.all([
      world.start('a', { version: '1' }),
      world.start('b', { version: '2', upgradeState: 'throw' }),
    ]);
    const { client, report } = await world.open('lines');
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    const [source, target] = [await world.accessPoint.peer('a'), await world.accessPoint.peer('b')];
    await source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 });
    expect(await codeOf(thawed(target, moveId))).toBe('app_refused');
    await source.ask({ t: 'revert', moveId });
    client.write('one\n');
    expect(await take(client, 6)).toBe('one 1\n');
  });
});

describe('an ordinary user with CAP_NET_ADMIN and nothing else', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.open();
  });

  afterAll(() => world.close());

  it('moves sessions, half-closed ones too', async () => {
    const a = await world.start('a', { uid: 65_534 });
    const b = await world.start('b', { uid: 65_534 });
    expect(await b.tell('whoami')).toEqual({ uid: 65_534, capabilities: ['CAP_NET_ADMIN'] });
    const { client, report } = await world.open('lines');
    client.write('one\n');
    expect(await take(client, 6)).toBe('one 1\n');
    client.end('two\n');
    await until(async () => (await a.tell<string[]>('seen')).includes('end'));
    const moved = await world.move(report, 'a', 'b');
    // The client answers one probe in 500 ms, and a half-closed socket sends only the one of its activation.
    await new Promise((resolve) => setTimeout(resolve, 600));
    await world.move(moved, 'b', 'a');
    await a.tell('end', { id: report.id, text: 'bye' });
    expect((await readAll(client)).toString()).toBe('two 2\nbye');
  });
});

describe('IPv6', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.open();
  });

  afterAll(() => world.close());

  it('sessions move as well', async () => {
    await Promise.all([world.start('a', { ipv6: true }), world.start('b', { ipv6: true })]);
    const { client, report } = await world.open('lines', 'a', world.net.vip6);
    client.write('one\n');
    expect(await take(client, 6)).toBe('one 1\n');
    await world.move(report, 'a', 'b');
    client.write('two\n');
    expect(await take(client, 6)).toBe('two 2\n');
  });
});
