/** Other versions of Node, and other versions of the application. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { describeMoves } from './move-suite.js';
import { codeOf, take } from './streams.js';
import { World, thawed } from './world.js';

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
