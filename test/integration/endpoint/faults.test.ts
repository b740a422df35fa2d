/** Lost parties and hostile peers: the session is served on, or waits for the access point's word. */
import type { Socket } from 'node:net';
import { openChannel } from '@restitch/channel';
import { encodeImage, protocolVersion } from '@restitch/wire/internal';
import type { SessionReport } from '@restitch/wire/internal';
import { afterEach, beforeAll, beforeEach, afterAll, describe, expect, it } from 'vitest';
import { FakeAccessPoint, type FakePeer, thawed } from './fake-access-point.js';
import { codeOf, readAll, take, until } from './streams.js';
import { type EndpointChild, World } from './world.js';

let world: World;
let a: EndpointChild;
let b: EndpointChild;
let source: FakePeer;
let target: FakePeer;
let client: Socket;
let report: SessionReport;

beforeAll(async () => {
  world = await World.open();
});

beforeEach(async () => {
  [a, b] = await Promise.all([world.start('a'), world.start('b', { maxImageBytes: 1_000_000 })]);
  await peers();
  ({ client, report } = await world.open('echo'));
});

afterEach(() => world.reset());

afterAll(() => world.close());

async function peers(): Promise<void> {
  source = await world.accessPoint.peer('a', 4);
  target = await world.accessPoint.peer('b', 4);
}

async function expectServing(): Promise<void> {
  client.write('still here');
  expect(await take(client, 10)).toBe('still here');
}

/** The daemon dies and comes back on the same port. */
async function restartAccessPoint(): Promise<void> {
  const { port } = world.accessPoint;
  await world.accessPoint.close();
  world.accessPoint = await FakeAccessPoint.open(
    world.net.client4,
    await world.pki.issue('access-point', 'ap', { force: true }),
    port,
  );
  await peers();
}

async function freeze(): Promise<string> {
  const moveId = await world.reserveAndPrepare(report, 'a', 'b');
  await source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 });
  await thawed(target, moveId);
  return moveId;
}

describe('the access point lost', () => {
  it('leaves sessions served, and they are announced when it is back', async () => {
    const port = world.accessPoint.port;
    await world.accessPoint.close();
    await expectServing();
    const during = await world.connect('echo');
    during.write('new');
    expect(await take(during, 3)).toBe('new');
    client.destroy();
    await until(async () => (await a.session(report.id)) === undefined);
    world.accessPoint = await FakeAccessPoint.open(
      world.net.client4,
      await world.pki.issue('access-point', 'ap', { force: true }),
      port,
    );
    await peers();
    expect(source.announced).toMatchObject([
      { flow: { client: { port: during.localPort } }, phase: 'live', epoch: 1 },
    ]);
    expect(target.announced).toEqual([]);
    expect(source.hello?.listeners.length).toBe(4);
  });

  it('before the freeze calls the move off', async () => {
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    await restartAccessPoint();
    expect(await codeOf(source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 100 }))).toBe(
      'message_invalid',
    );
    await expectServing();
  });

  it('after the freeze leaves both copies waiting; a new one reverts', async () => {
    const moveId = await freeze();
    await restartAccessPoint();
    expect(source.announced).toMatchObject([{ id: report.id, phase: 'frozen', moveId, epoch: 1 }]);
    expect(target.announced).toMatchObject([{ id: report.id, phase: 'pending', moveId, epoch: 2 }]);
    expect(await target.ask({ t: 'query', flows: [report.flow] })).toEqual({ owned: [true] });
    await target.ask({ t: 'abort', moveId });
    await source.ask({ t: 'revert', moveId });
    await expectServing();
    await world.move({ ...report, epoch: 2 }, 'a', 'b');
    await expectServing();
  });

  it('after the freeze leaves both copies waiting; a new one activates and releases', async () => {
    const moveId = await freeze();
    client.write('meanwhile');
    await restartAccessPoint();
    world.net.steer('b');
    await target.ask({ t: 'activate', moveId, epoch: 2 });
    await source.ask({ t: 'release', moveId });
    expect(await take(client, 9)).toBe('meanwhile');
  });
});

describe('an endpoint lost', () => {
  it('as the target after its thaw: the source reverts', async () => {
    const moveId = await freeze();
    await b.kill();
    await source.ask({ t: 'revert', moveId });
    await expectServing();
  });

  it('as the source after the image: the target serves', async () => {
    const moveId = await freeze();
    client.write('held in the client');
    await a.kill();
    world.net.steer('b');
    await target.ask({ t: 'activate', moveId, epoch: 2 });
    await target.event('confirmed', moveId);
    expect(await take(client, 18)).toBe('held in the client');
  });
});

describe('an endpoint that is closed', () => {
  it('withdraws its listeners, serves what it has, lets it be moved away, and only then ends', async () => {
    const bystander = (await world.open('echo')).client;
    await a.tell('close');
    await until(() => world.accessPoint.peers.get('a')?.hello?.listeners.length === 0);
    source = await world.accessPoint.peer('a', 0);
    await expectServing();
    const refused = world.reservation(target, { ...report, id: 'other' }, 'x1', 2);
    expect(await codeOf(source.ask(refused))).toBe('app_refused');
    bystander.end();
    await readAll(bystander);
    const moveId = world.newMoveId();
    const { stateAddress } = target.hello as NonNullable<FakePeer['hello']>;
    await target.ask({ ...world.reservation(target, report, moveId, 2), source: 'a', listener: 'echo' });
    const to = { name: 'b', address: stateAddress };
    await source.ask({ t: 'prepare', moveId, sessionId: report.id, target: to, budgetMs: 1000 });
    await source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 });
    await thawed(target, moveId);
    world.net.steer('b');
    await target.ask({ t: 'activate', moveId, epoch: 2 });
    const gone = new Promise<void>((resolve) => source.channel.onClose(() => resolve()));
    await source.ask({ t: 'release', moveId });
    await gone;
    await expectServing();
    expect(await a.tell('seen')).toContain('endpoint close');
  });
});

describe('a client that does not answer', () => {
  it('is moved and not confirmed', async () => {
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    world.cut();
    await source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 });
    await thawed(target, moveId);
    await target.ask({ t: 'activate', moveId, epoch: 2 });
    await source.ask({ t: 'release', moveId });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(target.events.some((event) => event.t === 'confirmed')).toBe(false);
    expect(await b.session(report.id)).toMatchObject({ phase: 'live', epoch: 2 });
    world.net.steer('b');
    await target.event('confirmed', moveId);
    await expectServing();
  });
});

describe('an image', () => {
  it('too large is not sent; the session serves on', async () => {
    await b.kill();
    await world.accessPoint.close();
    await a.kill();
    world.accessPoint = await FakeAccessPoint.open(
      world.net.client4,
      await world.pki.issue('access-point', 'ap', { force: true }),
    );
    [a, b] = await Promise.all([world.start('a', { maxImageBytes: 100_000 }), world.start('b')]);
    await peers();
    ({ client, report } = await world.open('idle'));
    await a.tell('writeMany', { id: report.id, bytes: 20_000_000 });
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    expect(await codeOf(source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 }))).toBe('image_invalid');
    await source.ask({ t: 'revert', moveId });
    await a.tell('end', { id: report.id, text: '' });
    expect((await readAll(client)).length).toBe(20_000_000);
  });

  /** A state connection to b as this endpoint. */
  async function dial(as: string, role: 'endpoint' | 'operator' = 'endpoint') {
    const { stateAddress } = target.hello as NonNullable<FakePeer['hello']>;
    const channel = await openChannel({
      host: stateAddress.address,
      port: stateAddress.port,
      tls: await world.pki.issue(role, as, { force: true }),
      expect: { role: 'endpoint', name: 'b' },
      maxMessageBytes: 1_000_000,
    });
    const closed = new Promise<void>((resolve) => channel.onClose(() => resolve()));
    channel.onMessage(() => undefined);
    return { channel, closed };
  }

  async function countOf(counter: string): Promise<number> {
    return (await b.tell<Record<string, number>>('counters'))[counter] ?? 0;
  }

  const hello = (name: string) => ({ t: 'state-hello', protocol: protocolVersion, name });

  function forgedImage(sessionId: string, epoch: number): Buffer {
    return encodeImage({
      sessionId,
      epoch,
      flow: report.flow,
      listener: 'echo',
      app: { name: 'test', version: '1' },
      state: null,
      tcp: {
        state: 1,
        rcvNxt: 1,
        writeSeq: 1,
        recvQueue: new Uint8Array(),
        sendQueue: new Uint8Array(),
        sentBytes: 0,
        finReceived: false,
        finSent: false,
        mssClamp: 1460,
        sndWscale: 7,
        rcvWscale: 7,
        hasWscale: true,
        hasSack: true,
        hasTimestamps: false,
        timestamp: 0,
        window: new Uint8Array(20),
        options: {},
        congestion: '',
        keepaliveElapsedMs: 0,
        unackedElapsedMs: 0,
      },
      unread: new Uint8Array(),
      unwritten: new Uint8Array(),
      endPending: false,
      outputEnded: false,
      inputEnded: false,
      openedAtMs: 0,
      moves: 1,
      bytesRead: 0,
      bytesWritten: 0,
    });
  }

  it('of another endpoint than the reserved source is refused, and the reservation stands', async () => {
    await target.ask(world.reservation(source, report, 'h1', 2));
    const c = await dial('c');
    c.channel.send(hello('c'));
    c.channel.send({ t: 'image', moveId: 'h1', epoch: 2, image: forgedImage(report.id, 2) });
    await c.closed;
    expect(await countOf('endpoint_images_refused_forbidden_total')).toBe(1);
    // The right sender's connection is taken in spite of it.
    const rightful = await dial('a');
    rightful.channel.send(hello('a'));
    rightful.channel.send({ t: 'image', moveId: 'h1', epoch: 2, image: Buffer.alloc(10) });
    expect(await target.event('thaw-failed', 'h1')).toMatchObject({ failure: { code: 'image_invalid' } });
    rightful.channel.close();
    await expectServing();
  });

  it('unreserved, replayed, under an old epoch or of another session is refused', async () => {
    const attempts: Array<[string, number, string, string]> = [
      ['never-reserved', 2, report.id, 'forbidden'],
      ['h2', 1, report.id, 'stale_epoch'],
      ['h2', 2, 'another', 'forbidden'],
      ['h2', 2, report.id, 'forbidden'],
    ];
    await target.ask(world.reservation(source, report, 'h2', 2));
    for (const [moveId, epoch, sessionId, code] of attempts) {
      const counter = `endpoint_images_refused_${code}_total`;
      const before = await countOf(counter);
      const x = await dial('a');
      x.channel.send(hello('a'));
      x.channel.send({ t: 'image', moveId, epoch, image: forgedImage(sessionId, epoch) });
      await x.closed;
      expect(await countOf(counter), `${moveId} ${epoch} ${sessionId}`).toBe(before + 1);
    }
    await expectServing();
  });

  it('before the hello, under another name, truncated or garbled closes the connection', async () => {
    const image = forgedImage(report.id, 2);
    const sequences: object[][] = [
      [{ t: 'image', moveId: 'h3', epoch: 2, image }],
      [hello('b')],
      [hello('c'), hello('c')],
      [{ t: 'nonsense' }],
      [{ ...hello('c'), protocol: { major: 9, minor: 0 } }],
    ];
    for (const messages of sequences) {
      const c = await dial('c');
      for (const message of messages) c.channel.send(message);
      await c.closed;
    }
    for (const bytes of [image.subarray(0, image.length - 5), Buffer.alloc(100, 7)]) {
      const moveId = `h4-${bytes.length}`;
      await target.ask(world.reservation(source, report, moveId, 2));
      const x = await dial('a');
      x.channel.send(hello('a'));
      x.channel.send({ t: 'image', moveId, epoch: 2, image: bytes });
      expect(await target.event('thaw-failed', moveId)).toMatchObject({ failure: { code: 'image_invalid' } });
      x.channel.close();
    }
    await expectServing();
  });

  it('is not taken from a party that is no endpoint', async () => {
    expect(await codeOf(dial('eve', 'operator'))).toBe('forbidden');
  });

  it('that comes after its move was aborted harms nobody', async () => {
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    await target.ask({ t: 'abort', moveId });
    await source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 });
    await until(async () => (await countOf('endpoint_images_refused_deadline_exceeded_total')) === 1);
    await source.ask({ t: 'revert', moveId });
    await expectServing();
    await world.move({ ...report, epoch: 2 }, 'a', 'b');
    await expectServing();
  });
});

it('no descriptor stays behind, however moves end', async () => {
  const descriptors = async (): Promise<number[]> => [
    await a.tell('descriptors'),
    await b.tell('descriptors'),
  ];
  client.destroy();
  await until(async () => (await a.session(report.id)) === undefined);
  const endings = ['called off', 'reverted', 'committed', 'committed half-closed'] as const;
  let before: number[] = [];
  for (let i = 0; i < 4 * endings.length; i++) {
    const ending = endings[i % endings.length];
    ({ client, report } = await world.open('idle'));
    client.on('error', () => undefined);
    if (ending === 'committed half-closed') {
      client.end('x');
      await until(async () => (await a.session(report.id))?.readableLength === 1);
    }
    const moveId = await world.reserveAndPrepare(report, 'a', 'b');
    if (ending !== 'called off') {
      await source.ask({ t: 'freeze', moveId, epoch: 2, budgetMs: 1000 });
      await thawed(target, moveId);
    }
    if (ending?.startsWith('committed') === true) {
      await target.ask({ t: 'activate', moveId, epoch: 2 });
      await source.ask({ t: 'release', moveId });
    } else {
      await target.ask({ t: 'abort', moveId });
      await source.ask({ t: 'revert', moveId });
    }
    for (const peer of [source, target]) await peer.ask({ t: 'reset', sessionIds: [report.id] });
    client.destroy();
    // The first round opens what stays open: the state connection between the two.
    if (i === endings.length - 1) before = await descriptors();
  }
  await until(async () => (await descriptors()).every((count, i) => count <= (before[i] ?? 0)));
}, 120_000);
