/**
 * A hostile peer at the two listeners that read what others send: the access point's control listener and an endpoint's
 * state listener, both the real ones. Each attack is refused under a counter of its own, and the session a client has at
 * the endpoint goes on as if nothing had happened.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AccessPoint, openAccessPoint } from '@restitch/access-point';
import { type TlsFiles } from '@restitch/channel';
import { encodeFrame, encodeImage } from '@restitch/wire/internal';
import { type Counters, createCounters, systemClock } from '@restitch/core';
import { type Endpoint, type Session, createEndpoint } from '@restitch/endpoint';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { FakeDataplane } from '../../packages/access-point/src/testing/fake-dataplane.js';
import { testConfig } from '../../packages/access-point/src/testing/test-config.js';
import { type DevPki, createDevPki } from '../../packages/pki/src/dev-pki.js';
import { imageSeed } from '../fuzz/seeds.js';
import { FakeAccessPoint, type FakePeer } from './endpoint/fake-access-point.js';
import {
  type Prey,
  cutOff,
  openRaw,
  pem,
  recordBytes,
  speakTo,
  tryPlain,
  tryTls,
} from './hostile/intruder.js';

const protocol = { major: 1, minor: 0 };
const app = { name: 'echo', version: '1' };
const silence = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

let directory: string;
let pki: DevPki;
let files: Record<'ap' | 'a' | 'b' | 'c' | 'operator' | 'expired' | 'otherCluster' | 'foreign', TlsFiles>;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-hostile-'));
  pki = await createDevPki(join(directory, 'pki'), { cluster: 'test' });
  const foreign = await createDevPki(join(directory, 'foreign'), { cluster: 'test' });
  files = {
    ap: await pki.issue('access-point', 'ap'),
    a: await pki.issue('endpoint', 'a'),
    b: await pki.issue('endpoint', 'b'),
    c: await pki.issue('endpoint', 'c'),
    operator: await pki.issue('operator', 'op'),
    expired: await pki.issue('endpoint', 'expired', { validDays: -1 }),
    otherCluster: await pki.issue('endpoint', 'other', { cluster: 'other' }),
    foreign: await foreign.issue('endpoint', 'a'),
  };
});
afterAll(() => rmSync(directory, { recursive: true }));

/** An endpoint with a client on it, at either kind of access point. */
class Victim {
  readonly counters = createCounters();
  readonly endpoint: Endpoint;
  readonly client = new net.Socket();
  session: Session | undefined;
  #echoes = 0;

  constructor(accessPointPort: number) {
    this.endpoint = createEndpoint({
      name: 'a',
      accessPoint: { host: '127.0.0.1', port: accessPointPort },
      tls: files.a,
      stateAddress: { host: '127.0.0.1', port: 0 },
      app,
      counters: this.counters,
      logger: silence,
    });
  }

  async start(): Promise<void> {
    const server = this.endpoint.createServer({ listener: 'main' }, (session) => {
      this.session = session;
      session.on('error', () => undefined);
      session.pipe(session);
    });
    server.listen({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    this.client.connect({ port: server.vip.port, host: '127.0.0.1' });
    await this.assertServes();
  }

  /** The client's bytes still come back, in order, on the connection it has had from the beginning. */
  async assertServes(): Promise<void> {
    const line = `line ${++this.#echoes}`;
    this.client.write(line);
    let got = '';
    while (got.length < line.length) got += String((await once(this.client, 'data'))[0]);
    expect(got).toBe(line);
    expect(this.session?.phase).toBe('live');
  }

  async stop(): Promise<void> {
    const closed = once(this.endpoint, 'close');
    this.endpoint.close();
    this.client.destroy();
    await closed;
  }
}

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(what()).toBe(true);
}

/** Counters of refusals that rose, with by how much. */
function risen(before: ReadonlyMap<string, number>, counters: Counters): Record<string, number> {
  const names = counters.entries().filter(([name]) => /refused|foreign|wrong_name|stale/.test(name));
  return Object.fromEntries(
    names.map(([name, n]) => [name, n - (before.get(name) ?? 0)] as const).filter(([, n]) => n > 0),
  );
}

type Attack = readonly [what: string, counter: string, run: (prey: Prey) => Promise<unknown>];

/** What the channel refuses before a party reads a word. */
const strangers: readonly Attack[] = [
  ['another authority', 'unknown_authority', (prey) => tryTls(prey, pem(files.foreign))],
  ['the right authority and the wrong role', 'wrong_role', (prey) => tryTls(prey, pem(files.operator))],
  ['another cluster', 'wrong_cluster', (prey) => tryTls(prey, pem(files.otherCluster))],
  ['an expired certificate', 'certificate_expired', (prey) => tryTls(prey, pem(files.expired))],
  ['no certificate', 'no_certificate', (prey) => tryTls(prey, {})],
  ['TLS 1.2', 'tls_version', (prey) => tryTls(prey, { ...pem(files.b), maxVersion: 'TLSv1.2' })],
  ['HTTP', 'not_tls', (prey) => tryPlain(prey, 'GET / HTTP/1.1\r\n\r\n')],
  [
    'a message without TLS',
    'not_tls',
    (prey) => tryPlain(prey, Buffer.concat([...encodeFrame({ t: 'hello' })])),
  ],
  [
    'bytes of an honest connection played again',
    'handshake_failed',
    async (prey) => tryPlain(prey, await recordBytes(prey, files.b, [])),
  ],
];

async function raw(prey: Prey, bytes: Uint8Array, isEnd = false): Promise<void> {
  const socket = await openRaw(prey, files.b);
  if (isEnd) socket.end(bytes);
  else socket.write(bytes);
  await cutOff(socket);
}

/** What an authenticated peer can do to the frames. */
const mumblers: readonly Attack[] = [
  ['a message announced too large', 'oversize', (prey) => raw(prey, Buffer.from([0x7f, 0xff, 0xff, 0xff]))],
  ['half a message', 'truncated', (prey) => raw(prey, Buffer.from([0, 0, 0, 9, 0x81]), true)],
  ['a message that is no plain value', 'malformed', (prey) => raw(prey, Buffer.from([0, 0, 0, 2, 0xc7, 0]))],
  ['a message of no known kind', 'message_invalid', (prey) => speak(prey, { t: 'open-sesame' })],
  ['a list instead of a message', 'message_invalid', (prey) => speak(prey, [1, 2, 3])],
  [
    'a message of the other direction',
    'message_invalid',
    (prey) => speak(prey, { t: 'abort', rq: 1, moveId: 'm' }),
  ],
];

async function speak(prey: Prey, ...messages: object[]): Promise<void> {
  const speaker = await speakTo(prey, files.b);
  await speaker.say(...messages).closed;
}

async function assertRefused(attack: Attack, prey: Prey, counters: Counters): Promise<void> {
  const [, counter, run] = attack;
  const before = new Map(counters.entries());
  await run(prey);
  const name = `channel_refused_${counter}_total`;
  await until(() => counters.get(name) > (before.get(name) ?? 0));
  expect(risen(before, counters)).toMatchObject({ [name]: 1 });
  expect(Object.keys(risen(before, counters)).filter((n) => n.startsWith('channel_refused'))).toEqual([name]);
}

describe('at the control listener of an access point', () => {
  const counters = createCounters();
  let accessPoint: AccessPoint;
  let dataplane: FakeDataplane;
  let victim: Victim;
  let prey: Prey;

  beforeAll(async () => {
    const config = testConfig(
      join(directory, 'state'),
      'health: {heartbeat: 50ms, suspectAfter: 2s, deadAfter: 20s}',
    );
    dataplane = new FakeDataplane(systemClock);
    accessPoint = await openAccessPoint({
      config: {
        ...config,
        control: { ...config.control, listen: { address: '127.0.0.1', port: 0 }, tls: files.ap },
      },
      dataplane,
      counters,
    });
    prey = { port: accessPoint.controlPort, role: 'access-point' };
    victim = new Victim(prey.port);
    await victim.start();
    await until(() => accessPoint.state.sessions.size === 1);
  });
  afterAll(async () => {
    await victim.stop();
    await accessPoint.close();
  });
  afterEach(async () => {
    await victim.assertServes();
    const [known] = accessPoint.state.sessions.all();
    expect(known).toMatchObject({ id: victim.session?.id, epoch: 1, owner: { name: 'a' } });
    expect(accessPoint.state.sessions.size).toBe(1);
    const record = known === undefined ? undefined : dataplane.lookup(known.flow);
    expect(record).toMatchObject({ endpointId: known?.owner.id, epoch: 1, phase: 'active' });
  });

  it.each([...strangers, ...mumblers])('refuses %s: %s', async (...attack) => {
    await assertRefused(attack as Attack, prey, counters);
  });

  const hello = (name: string, more: object = {}) => ({
    t: 'hello',
    protocol,
    name,
    instance: `i-${Math.random()}`,
    app,
    stateAddress: { address: '127.0.0.1', port: 1 },
    dataAddress: '127.0.0.1',
    listeners: [],
    features: [],
    ...more,
  });
  const emptyList = { t: 'announce', sessions: [], last: true };
  const ofA = (more: object = {}) => ({
    id: victim.session?.id,
    flow: victim.session?.flow,
    epoch: 9,
    phase: 'live',
    openedAtMs: 1,
    ...more,
  });

  it.each<Attack>([
    [
      'speaking before hello',
      'message_invalid',
      (p) => speak(p, { t: 'heartbeat', n: 1, sessions: 0, eventLoopDelayMs: 0 }),
    ],
    ['speaking as another', 'forbidden', (p) => speak(p, hello('a'))],
    ['a second hello', 'message_invalid', (p) => speak(p, hello('b'), emptyList, hello('b'))],
    [
      'a newer major version',
      'version_unsupported',
      (p) => speak(p, hello('b', { protocol: { major: 2, minor: 0 } })),
    ],
    [
      'a reply nobody asked for',
      'message_invalid',
      (p) => speak(p, hello('b'), emptyList, { t: 'reply', re: 7, ok: true, data: {} }),
    ],
    [
      'an epoch that does not fit a record',
      'message_invalid',
      (p) => speak(p, hello('b'), { ...emptyList, sessions: [ofA({ epoch: 2 ** 24 })] }),
    ],
    [
      "opening another's session",
      'forbidden',
      (p) => speak(p, hello('b'), emptyList, { t: 'opened', sessions: [ofA()] }),
    ],
    [
      "opening another's flow",
      'forbidden',
      (p) => speak(p, hello('b'), emptyList, { t: 'opened', sessions: [ofA({ id: 'new' })] }),
    ],
    ['an agent of another host', 'forbidden', (p) => speak(p, { t: 'agent-hello', protocol, name: 'a' })],
    [
      "an agent's word from an endpoint",
      'message_invalid',
      (p) => speak(p, hello('b'), emptyList, { t: 'process-ended', instance: 'i', isFenced: true }),
    ],
    [
      "an endpoint's word from an agent",
      'message_invalid',
      (p) => speak(p, { t: 'agent-hello', protocol, name: 'b' }, emptyList),
    ],
    [
      'a flow that is no address',
      'message_invalid',
      (p) =>
        speak(p, hello('b'), {
          ...emptyList,
          sessions: [ofA({ flow: { client: { address: 'x', port: 1 }, vip: { address: 'y', port: 1 } } })],
        }),
    ],
  ])('refuses %s: %s', async (...attack) => {
    await assertRefused(attack, prey, counters);
  });

  it.each([
    ['its id', {}],
    ['its flow under another id', { id: 'mine' }],
  ])("does not give another's session away to who announces %s under a higher epoch", async (_what, more) => {
    const before = counters.get('reconcile_stale_total');
    const speaker = await speakTo(prey, files.b);
    speaker.say(hello('b'), { ...emptyList, sessions: [ofA(more)] });
    await until(() => counters.get('reconcile_stale_total') > before);
    speaker.close();
    await speaker.closed;
  });

  it('leaves alone what is said to have ended, moved or been pinned by who does not own it', async () => {
    const lateBefore = counters.get('control_late_move_events_total');
    const speaker = await speakTo(prey, files.b);
    const flow = victim.session?.flow;
    speaker.say(
      hello('b'),
      emptyList,
      { t: 'ended', sessions: [{ id: victim.session?.id, flow, epoch: 1, reason: 'lie' }] },
      { t: 'pinned', id: victim.session?.id, reason: 'lie' },
      { t: 'confirmed', moveId: 'no-such-move', serverRtos: 0 },
      { t: 'thaw-failed', moveId: 'no-such-move', failure: { code: 'x', message: 'y' } },
    );
    await until(() => counters.get('control_late_move_events_total') === lateBefore + 2);
    const [known] = accessPoint.state.sessions.all();
    expect(known?.pinned).toBeUndefined();
    speaker.close();
    await speaker.closed;
  });

  it("does not let an honest endpoint's recorded messages be played by another", async () => {
    const honest = [hello('a'), emptyList];
    await assertRefused(['replay', 'forbidden', (p) => speak(p, ...honest)], prey, counters);
    expect(accessPoint.state.endpoints.byName('a')?.link).toBeDefined();
  });
});

describe('at the state listener of an endpoint', () => {
  let accessPoint: FakeAccessPoint;
  let victim: Victim;
  let peer: FakePeer;
  let prey: Prey;
  let moves = 0;

  beforeAll(async () => {
    accessPoint = await FakeAccessPoint.open('127.0.0.1', files.ap);
    victim = new Victim(accessPoint.port);
    await victim.start();
    peer = await accessPoint.peer('a');
    prey = { port: victim.endpoint.stateAddress?.port ?? 0, role: 'endpoint' };
  });
  afterAll(async () => {
    await victim.stop();
    await accessPoint.close();
  });
  afterEach(() => victim.assertServes());

  const hello = (name: string, more: object = {}) => ({ t: 'state-hello', protocol, name, ...more });
  const flow = { client: { address: '192.0.2.7', port: 4000 }, vip: { address: '192.0.2.100', port: 7000 } };
  const imageOf = (sessionId: string, epoch: number) =>
    encodeImage({ ...imageSeed, sessionId, epoch, flow, listener: 'main', app });

  /** The access point lets `source` send one image; returns the move's id. */
  async function reserve(source: string, more: object = {}): Promise<string> {
    const moveId = `m${++moves}`;
    const place = {
      moveId,
      sessionId: `s${moves}`,
      flow,
      epoch: 5,
      source,
      app,
      listener: 'main',
      expiresMs: 60_000,
    };
    await peer.ask({ t: 'reserve', ...place, ...more });
    return moveId;
  }

  it.each([...strangers, ...mumblers])('refuses %s: %s', async (...attack) => {
    await assertRefused(attack as Attack, prey, victim.counters);
  });

  it('refuses an access point, whose place it is not', async () => {
    const attack: Attack = ['ap', 'wrong_role', (p) => tryTls(p, pem(files.ap))];
    await assertRefused(attack, prey, victim.counters);
  });

  it.each<Attack>([
    [
      'an image before hello',
      'message_invalid',
      (p) => speak(p, { t: 'image', moveId: 'm', epoch: 5, image: Buffer.alloc(9) }),
    ],
    ['speaking as another', 'forbidden', (p) => speak(p, hello('c'))],
    ['a second hello', 'message_invalid', (p) => speak(p, hello('b'), hello('b'))],
    [
      'a newer major version',
      'version_unsupported',
      (p) => speak(p, hello('b', { protocol: { major: 2, minor: 0 } })),
    ],
    [
      'replicas at an endpoint that keeps none',
      'forbidden',
      (p) => speak(p, hello('b', { purpose: 'replication' })),
    ],
    [
      'an image nobody reserved',
      'forbidden',
      (p) => speak(p, hello('b'), { t: 'image', moveId: 'none', epoch: 5, image: imageOf('s', 5) }),
    ],
  ])('refuses %s: %s', async (...attack) => {
    await assertRefused(attack, prey, victim.counters);
  });

  it('refuses an image that is reserved for another source, and keeps the place for that one', async () => {
    const moveId = await reserve('c');
    const image = { t: 'image', moveId, epoch: 5, image: imageOf(`s${moves}`, 5) };
    await assertRefused(['', 'forbidden', (p) => speak(p, hello('b'), image)], prey, victim.counters);
    // The rightful source is still heard: its damaged image is refused for what it is.
    const rightful = await speakTo(prey, files.c);
    rightful.say(hello('c'), { ...image, image: Buffer.from('damaged') });
    expect(await peer.event('thaw-failed', moveId)).toMatchObject({ failure: { code: 'image_invalid' } });
    await until(() => rightful.heard.some((m) => m.t === 'image-refused'));
    rightful.close();
  });

  it('refuses an old epoch', async () => {
    const moveId = await reserve('b');
    const image = { t: 'image', moveId, epoch: 4, image: imageOf(`s${moves}`, 4) };
    await assertRefused(['', 'stale_epoch', (p) => speak(p, hello('b'), image)], prey, victim.counters);
    expect(victim.counters.get('endpoint_images_refused_stale_epoch_total')).toBe(1);
  });

  it('refuses an image of another session than the reserved one', async () => {
    const moveId = await reserve('b');
    const image = { t: 'image', moveId, epoch: 5, image: imageOf('another', 5) };
    await assertRefused(['', 'forbidden', (p) => speak(p, hello('b'), image)], prey, victim.counters);
  });

  it('refuses an image that is played again', async () => {
    const moveId = await reserve('b');
    const image = { t: 'image', moveId, epoch: 5, image: Buffer.from('damaged') };
    await assertRefused(['', 'forbidden', (p) => speak(p, hello('b'), image, image)], prey, victim.counters);
  });

  it("refuses a move onto the client's own flow, and one with an epoch it has already had", async () => {
    const session = victim.session as Session;
    await expect(reserve('b', { flow: session.flow })).rejects.toMatchObject({ code: 'session_moving' });
    await expect(reserve('b', { sessionId: session.id, epoch: 1 })).rejects.toMatchObject({
      code: 'stale_epoch',
    });
  });

  it.each(['freeze', 'activate', 'release'] as const)(
    'answers %s of a move that never was with a refusal',
    async (t) => {
      const message = { t, moveId: 'never', epoch: 5, budgetMs: 50 };
      await expect(peer.ask(message)).rejects.toMatchObject({ code: 'message_invalid' });
    },
  );
});
