/** What an access point promises its endpoints, for every implementation: the greeting, who is refused, and the order of a move. */
import { type Channel, type TlsFiles, openChannel } from '@restitch/channel';
import type { FromEndpoint, SessionReport, ToEndpoint } from '@restitch/wire/internal';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { codeOf, until } from './streams.js';

type Request = Extract<ToEndpoint, { rq: number }>;
type Hello = Extract<FromEndpoint, { t: 'hello' }>;

/** An access point of a listener `main` at 10.0.0.100:7000. */
export interface AccessPointStage {
  readonly port: number;
  /** Certificate of the endpoint of that name. */
  filesOf(name: string): TlsFiles;
  /** Moves the session; rejects with the reason if it does not commit. */
  move(report: SessionReport, from: string, to: string): Promise<unknown>;
  /** Tells endpoints who can keep replicas, if that does not happen by itself. */
  publishPeers(): void;
}

const vip = { address: '10.0.0.100', port: 7000 };
const app = { name: 'player', version: '1' };

/** An endpoint that a test plays: it answers as an honest one would, unless the test says otherwise. */
class Player {
  readonly name: string;
  readonly heard: ToEndpoint[] = [];
  readonly closed: Promise<void>;
  isClosed = false;
  /** Instead of the honest answer; undefined: none at all. */
  readonly answers = new Map<Request['t'], (request: Request) => void>();
  readonly #channel: Channel;
  readonly #onRequest: (player: Player, request: Request) => void;

  constructor(name: string, channel: Channel, onRequest: (player: Player, request: Request) => void) {
    this.name = name;
    this.#channel = channel;
    this.#onRequest = onRequest;
    channel.onMessage((raw) => this.#hear(raw as ToEndpoint));
    this.closed = new Promise((resolve) =>
      channel.onClose(() => {
        this.isClosed = true;
        resolve();
      }),
    );
  }

  say(message: object): void {
    this.#channel.send(message);
  }

  refuse({ rq }: Request, code: string): void {
    this.say({ t: 'refusal', re: rq, failure: { code, message: 'as the test wants' } });
  }

  close(): void {
    this.#channel.close();
  }

  /** Requests that came, in order. */
  get requests(): Request[] {
    return this.heard.filter((message): message is Request => 'rq' in message);
  }

  async until<T extends ToEndpoint['t']>(t: T): Promise<Extract<ToEndpoint, { t: T }>> {
    await until(() => this.heard.some((message) => message.t === t));
    return this.heard.find((message) => message.t === t) as Extract<ToEndpoint, { t: T }>;
  }

  #hear(message: ToEndpoint): void {
    this.heard.push(message);
    if (!('rq' in message)) return;
    const answer = this.answers.get(message.t);
    if (answer === undefined) this.#onRequest(this, message);
    else answer(message);
  }
}

/** Runs the promises against a stage; `setUp` is called once. */
export function accessPointContract(setUp: () => Promise<AccessPointStage>): void {
  let stage: AccessPointStage;
  let players: Player[] = [];
  /** What was asked of whom, in order. */
  let asked: string[] = [];
  let sessions = 0;
  let instances = 0;

  beforeAll(async () => {
    stage = await setUp();
  }, 60_000);
  afterEach(async () => {
    for (const player of players) player.close();
    await Promise.all(players.map((player) => player.closed));
    players = [];
    asked = [];
  });

  /** A connection that has said nothing. */
  async function dial(name: string): Promise<Player> {
    const channel = await openChannel({
      host: '127.0.0.1',
      port: stage.port,
      tls: stage.filesOf(name),
      expect: { role: 'access-point' },
      maxMessageBytes: 1 << 20,
    });
    const player = new Player(name, channel, honest);
    players.push(player);
    return player;
  }

  const helloOf = (name: string, more: object = {}): Hello => ({
    t: 'hello',
    protocol: { major: 1, minor: 0 },
    name,
    instance: `${name}-${++instances}`,
    app,
    stateAddress: { address: '127.0.0.1', port: name === 'a' ? 9001 : 9002 },
    dataAddress: '10.0.0.1',
    listeners: [{ name: 'main', vip }],
    features: [],
    ...more,
  });

  /** One that has said hello and announced nothing. */
  async function join(name: string, more: object = {}): Promise<Player> {
    const player = await dial(name);
    player.say(helloOf(name, more));
    await player.until('welcome');
    player.say({ t: 'announce', sessions: [], last: true });
    return player;
  }

  /** A client connects. */
  async function open(at: Player): Promise<SessionReport> {
    const n = ++sessions;
    const flow = { client: { address: '10.0.0.2', port: 30_000 + n }, vip };
    const report = { id: `c${n}`, flow, epoch: 3, phase: 'live', openedAtMs: 1 } as const;
    at.say({ t: 'opened', sessions: [report] });
    return report;
  }

  function honest(player: Player, request: Request): void {
    asked.push(`${request.t} ${player.name}`);
    const other = players.find(({ name, isClosed }) => name !== player.name && !isClosed);
    player.say({ t: 'reply', re: request.rq, ok: true, data: request.t === 'query' ? { owned: [] } : {} });
    if (request.t === 'freeze') other?.say({ t: 'thawed', moveId: request.moveId, thawUs: 1 });
    if (request.t === 'activate') player.say({ t: 'confirmed', moveId: request.moveId, serverRtos: 0 });
  }

  async function openMove(): Promise<{ a: Player; b: Player; report: SessionReport }> {
    const [a, b] = [await join('a'), await join('b')];
    return { a, b, report: await open(a) };
  }
  const move = (report: SessionReport): Promise<unknown> => stage.move(report, 'a', 'b');

  describe('a greeting', () => {
    it('is the first word, and comes after hello', async () => {
      const player = await dial('a');
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(player.heard).toEqual([]);
      player.say(helloOf('a'));
      await player.until('welcome');
      const [welcome] = player.heard;
      expect(welcome).toMatchObject({ t: 'welcome', protocol: { major: 1 }, accessPoint: 'ap' });
      expect((welcome as Extract<ToEndpoint, { t: 'welcome' }>).heartbeatMs).toBeGreaterThan(0);
    });

    it('to the same endpoint on another connection ends the first', async () => {
      const first = await join('a');
      const second = await join('a');
      await first.closed;
      expect(second.isClosed).toBe(false);
    });

    const beforeHello: ReadonlyArray<readonly [string, (name: string) => object]> = [
      ['an event before hello', () => ({ t: 'leaving', on: true, deadlineMs: 1 })],
      ['another name than its certificate has', (name) => helloOf(name, { name: 'b' })],
      ['another major version', (name) => helloOf(name, { protocol: { major: 2, minor: 0 } })],
      ['a word that there is not', () => ({ t: 'open-sesame' })],
    ];
    it.each(beforeHello)('is refused to %s', async (_what, say) => {
      const player = await dial('a');
      player.say(say('a'));
      await player.closed;
      expect(player.heard.filter((message) => message.t === 'welcome')).toEqual([]);
    });

    const afterHello: ReadonlyArray<readonly [string, () => object]> = [
      ['a second hello', () => helloOf('a')],
      ['an answer to what was not asked', () => ({ t: 'reply', re: 4711, ok: true, data: {} })],
      [
        'a refusal of what was not asked',
        () => ({ t: 'refusal', re: 4711, failure: { code: 'closed', message: '' } }),
      ],
      ['the word of an agent', () => ({ t: 'finished', flows: [] })],
      ['a message of the other direction', () => ({ t: 'draining', on: true })],
      [
        'an epoch that no record can hold',
        () => ({ t: 'opened', sessions: [{ id: 'x', epoch: 0x1000000 }] }),
      ],
    ];
    it.each(afterHello)('ends with %s', async (_what, say) => {
      const player = await join('a');
      player.say(say());
      await player.closed;
    });
  });

  describe('crash protection', () => {
    const protection = { protection: { labels: { rack: 'r1' } } };

    it('answers each heartbeat of whoever takes part with a lease of its number', async () => {
      const player = await join('a', protection);
      const plain = await join('b');
      for (const n of [7, 8]) {
        for (const each of [player, plain]) each.say({ t: 'heartbeat', n, sessions: 0, eventLoopDelayMs: 0 });
        await until(() => player.heard.some((message) => message.t === 'lease' && message.n === n));
      }
      const leases = player.heard.filter((message) => message.t === 'lease');
      expect(leases.map(({ n }) => n)).toEqual([7, 8]);
      for (const { leaseMs } of leases) expect(leaseMs).toBeGreaterThan(0);
      expect(plain.heard.filter((message) => message.t === 'lease')).toEqual([]);
    });

    it('tells those who take part of each other, as they said hello', async () => {
      const a = await join('a', protection);
      const hello = helloOf('b', protection);
      const b = await dial('b');
      b.say(hello);
      b.say({ t: 'announce', sessions: [], last: true });
      await b.until('welcome');
      const { instance, stateAddress } = hello;
      const expected = { name: 'b', instance, stateAddress, labels: { rack: 'r1' } };
      await until(() => {
        stage.publishPeers();
        return a.heard.some((message) => message.t === 'peers' && message.peers.some((p) => p.name === 'b'));
      });
      const lists = a.heard.flatMap((message) => (message.t === 'peers' ? [message.peers] : []));
      expect(lists.at(-1)).toContainEqual(expect.objectContaining(expected));
    });
  });

  describe('a move', () => {
    it('asks in one order, each after the answer before, in one name and under one epoch', async () => {
      const { a, b, report } = await openMove();
      await move(report);
      expect(asked).toEqual(['reserve b', 'prepare a', 'freeze a', 'activate b', 'release a']);
      const [reserve, activate] = b.requests;
      const [prepare, freeze, release] = a.requests;
      const { moveId } = reserve as Extract<Request, { t: 'reserve' }>;
      const epoch = report.epoch + 1;
      const { id: sessionId, flow } = report;
      expect(reserve).toMatchObject({ sessionId, flow, epoch, source: 'a', app, listener: 'main' });
      expect((reserve as Extract<Request, { t: 'reserve' }>).expiresMs).toBeGreaterThan(0);
      const target = { name: 'b', address: { address: '127.0.0.1', port: 9002 } };
      expect(prepare).toMatchObject({ moveId, sessionId, target });
      expect(freeze).toMatchObject({ moveId, epoch });
      expect(activate).toMatchObject({ moveId, epoch });
      expect(release).toMatchObject({ moveId });
      for (const { requests } of [a, b])
        expect(new Set(requests.map(({ rq }) => rq)).size).toBe(requests.length);
    });

    it('waits for the target’s word and for the client’s', async () => {
      const { a, b, report } = await openMove();
      let freeze: Request | undefined;
      a.answers.set('freeze', (request) => {
        freeze = request;
        a.say({ t: 'reply', re: request.rq, ok: true, data: {} });
      });
      b.answers.set('activate', (request) => b.say({ t: 'reply', re: request.rq, ok: true, data: {} }));
      const moved = move(report);
      await a.until('freeze');
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(b.requests.map(({ t }) => t)).toEqual(['reserve']);
      const { moveId } = freeze as Extract<Request, { t: 'freeze' }>;
      b.say({ t: 'thawed', moveId, thawUs: 1 });
      await b.until('activate');
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(a.requests.map(({ t }) => t)).toEqual(['prepare', 'freeze']);
      b.say({ t: 'confirmed', moveId, serverRtos: 0 });
      await moved;
      await a.until('release');
    });

    it('asks again while the source is busy', async () => {
      const { a, report } = await openMove();
      let tries = 0;
      a.answers.set('freeze', (request) => {
        if (++tries < 3) a.refuse(request, 'session_busy');
        else honest(a, request);
      });
      await move(report);
      const freezes = a.requests.filter(({ t }) => t === 'freeze') as Array<
        Extract<Request, { t: 'freeze' }>
      >;
      expect(freezes.length).toBe(3);
      expect(new Set(freezes.map(({ moveId, epoch }) => `${moveId} ${epoch}`)).size).toBe(1);
    });

    it.each([
      ['reserve', 'b', 'no_capacity'],
      ['prepare', 'a', 'session_pinned'],
      ['freeze', 'a', 'freeze_failed'],
    ] as const)('whose %s is refused by %s ends with its code, undone', async (step, at, code) => {
      const { a, b, report } = await openMove();
      const player = at === 'a' ? a : b;
      player.answers.set(step, (request) => player.refuse(request, code));
      expect(await codeOf(move(report))).toBe(code);
      if (step !== 'reserve') await b.until('abort');
      if (step === 'freeze') await a.until('revert');
      expect(asked.filter((what) => /activate|release/.test(what))).toEqual([]);
    });

    it('that the target cannot take ends with its word, undone', async () => {
      const { a, b, report } = await openMove();
      a.answers.set('freeze', (request) => {
        const { moveId } = request as Extract<Request, { t: 'freeze' }>;
        a.say({ t: 'reply', re: request.rq, ok: true, data: {} });
        b.say({ t: 'thaw-failed', moveId, failure: { code: 'thaw_failed', message: 'as the test wants' } });
      });
      expect(await codeOf(move(report))).toBe('thaw_failed');
      await Promise.all([b.until('abort'), a.until('revert')]);
      expect(asked.filter((what) => /activate|release/.test(what))).toEqual([]);
    });

    it.each(['reserve', 'prepare', 'freeze'] as const)(
      'whose target is lost at %s ends so, undone',
      async (step) => {
        const { a, b, report } = await openMove();
        const player = step === 'reserve' ? b : a;
        player.answers.set(step, () => b.close());
        expect(await codeOf(move(report))).toBe('peer_lost');
        if (step !== 'reserve') await a.until('revert');
        expect(asked.filter((what) => /activate|release/.test(what))).toEqual([]);
      },
    );

    it('whose source is lost at prepare ends so, undone', async () => {
      const { a, b, report } = await openMove();
      a.answers.set('prepare', () => a.close());
      expect(await codeOf(move(report))).toBe('peer_lost');
      await b.until('abort');
      expect(b.requests.map(({ t }) => t)).toEqual(['reserve', 'abort']);
    });

    it('is possible again once who was lost is back', async () => {
      const { a, b, report } = await openMove();
      a.answers.set('prepare', () => b.close());
      expect(await codeOf(move(report))).toBe('peer_lost');
      a.answers.clear();
      await join('b');
      const again = { ...report, epoch: report.epoch + 1 };
      await until(async () => (await codeOf(move(again))) === 'resolved');
      expect(asked.slice(-5)).toEqual(['reserve b', 'prepare a', 'freeze a', 'activate b', 'release a']);
    });
  });
}
