/** The analytics in a daemon: real engine, real coordinator, endpoints in memory, one virtual clock. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { replay } from '@restitch/analytics';
import type { EngineInput, EngineOutput } from '@restitch/analytics';
import type { AnswerTo } from '@restitch/wire';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { testConfig } from '../testing/test-config.js';
import { World } from '../testing/world.js';
import { createAnalyticsCommands } from '../admin/analytics-commands.js';
import type { AnalyticsHost } from './analytics-host.js';
import { type RunnerSetup, type StartRunner, startInlineRunner } from './engine-runner.js';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'restitch-analytics-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const names = ['a', 'b', 'c'];

async function openWorld(
  analytics: string,
  start: StartRunner,
  { sessions = 20, concurrency = 256 } = {},
): Promise<World> {
  const moves = `moves: {minimumResidence: 0s, concurrency: ${concurrency}}`;
  const config = testConfig(directory, `analytics: {${analytics}}\n${moves}`);
  const world = new World(config, names, start);
  for (const name of names) world.connect(name);
  await world.settle();
  for (let i = 0; i < sessions; i++) world.open('a');
  await world.settle();
  return world;
}

function hostOf(world: World): AnalyticsHost {
  const { analytics } = world.core.state;
  if (analytics === undefined) throw new Error('no analytics');
  return analytics;
}

/** What an operator is shown. */
function planOf(world: World): Promise<AnswerTo<'analytics.plan'>> {
  return Promise.resolve(createAnalyticsCommands(hostOf(world))['analytics.plan']({ cmd: 'analytics.plan' }));
}

/** Seconds with telemetry; all of `cpu` comes from sessions, which take it along when they move. */
async function live(
  world: World,
  seconds: number,
  cpu: (second: number) => number,
  seq: { n: number },
): Promise<void> {
  const total = names.reduce((sum, name) => sum + world.endpoint(name).copies.size, 0);
  for (let second = 0; second < seconds; second++) {
    seq.n++;
    for (const name of names) {
      const here = [...world.endpoint(name).copies.keys()];
      world.link(name)?.fromEndpoint({
        t: 'telemetry',
        atMs: seq.n * 1000,
        seq: seq.n,
        total: here.length,
        metrics: { cpuRatio: Math.min(1, (cpu(second) * here.length) / total), cpuLimitCores: 1 },
        sessions: here.map((id) => [id, 0, 1000, 10, 100, 900]),
      });
    }
    for (let t = 0; t < 1000; t += 100) {
      await world.settle();
      await world.advance(100);
    }
  }
  await world.settle();
}

/** An engine that a test plays itself. */
function puppet(): {
  start: StartRunner;
  setups: RunnerSetup[];
  posted: EngineInput[][];
  isClosed: boolean[];
} {
  const setups: RunnerSetup[] = [];
  const posted: EngineInput[][] = [];
  const isClosed: boolean[] = [];
  const start: StartRunner = (setup) => {
    const n = setups.push(setup) - 1;
    posted.push([]);
    isClosed.push(false);
    return {
      unanswered: 1,
      post: (inputs) => void posted[n]?.push(...inputs),
      query: () => new Promise(() => undefined),
      close: () => {
        isClosed[n] = true;
      },
    };
  };
  return { start, setups, posted, isClosed };
}

function plan(sessions: readonly string[], to = 'b'): EngineOutput {
  const moves = sessions.map((session, i) => ({
    session,
    from: 'a',
    to,
    score: 0.1,
    scoreThere: 1,
    gain: 1,
    cost: 0.01,
    money: 0,
    deadlineAtMs: 99_000,
    priority: 100 - i,
    reasons: ['test'],
  }));
  return { kind: 'plan', atMs: 1000, planId: 1, disposition: 'move', rule: 'predictive', moves };
}

describe('analytics in the daemon', () => {
  it('act: sessions leave an endpoint above its limit, and no more than needed', async () => {
    const world = await openWorld('mode: act, rule: reactive', startInlineRunner);
    await live(world, 30, () => 1, { n: 0 });
    const left = world.endpoint('a').copies.size;
    expect(left).toBeLessThanOrEqual(18);
    expect(left).toBeGreaterThan(8);
    expect(hostOf(world).view.moves.committed).toBe(20 - left);
    expect(world.core.state.counters.get('analytics_moves_committed_total')).toBe(20 - left);
  });

  it('shadow is the default and moves nobody; off plans nothing', async () => {
    const world = await openWorld('rule: reactive', startInlineRunner);
    const seq = { n: 0 };
    await live(world, 10, () => 1, seq);
    expect(world.endpoint('a').copies.size).toBe(20);
    const { plan: shown } = await planOf(world);
    expect(shown).toMatchObject({ disposition: 'show' });
    expect(shown?.moves.length).toBeGreaterThan(0);
    hostOf(world).setMode('off');
    await live(world, 3, () => 1, seq);
    expect(await planOf(world)).toEqual({
      mode: 'off',
      plan: null,
    });
  });

  it('advise: nothing moves before the accept, and then what was accepted', async () => {
    const world = await openWorld('mode: advise, rule: reactive', startInlineRunner);
    const seq = { n: 0 };
    await live(world, 5, () => 1, seq);
    expect(world.endpoint('a').copies.size).toBe(20);
    const { plan: asked } = await planOf(world);
    if (asked === null) throw new Error('no plan');
    hostOf(world).accept(asked.planId);
    await live(world, 3, () => 1, seq);
    for (const { session, to } of asked.moves) expect(world.endpoint(to).copies.has(session)).toBe(true);
    expect(world.endpoint('a').copies.size).toBe(20 - asked.moves.length);
  });

  it('off drops what waits at once, also when the engine hangs, takes verdicts back, and leaves manual moves alone', async () => {
    const { start, setups } = puppet();
    const world = await openWorld('mode: act', start, { concurrency: 5 });
    const { coordinator } = world.core.state;
    const ids = [...world.endpoint('a').copies.keys()];
    coordinator.pauseAt('preparing');
    setups[0]!.onOutputs([
      plan(ids),
      {
        kind: 'verdicts',
        endpoint: 'a',
        generation: 5,
        expiresInMs: 3000,
        verdicts: [{ session: ids[0]!, target: 'b' }],
      },
    ]);
    await world.settle();
    const running = coordinator.running().length;
    expect(running).toBe(5);
    expect(coordinator.waiting).toBe(15);
    const told: unknown[] = [];
    const link = world.link('a')!;
    const send = link.channel.send.bind(link.channel);
    Object.assign(link.channel, { send: (m: object) => (told.push(m), send(m)) });
    expect(hostOf(world).setMode('off')).toEqual({ mode: 'off', dropped: 20 - running });
    expect(coordinator.waiting).toBe(0);
    expect(told).toContainEqual(expect.objectContaining({ t: 'verdicts', generation: 6, verdicts: [] }));
    // What the engine says afterwards counts for nothing.
    setups[0]!.onOutputs([plan(ids.slice(10))]);
    expect(coordinator.waiting).toBe(0);
    coordinator.resume();
    await world.rest();
    expect(world.endpoint('b').copies.size).toBe(running);
    expect(world.endpoint('a').copies.size).toBe(15);
    const manual = coordinator.migrate({
      sessionId: [...world.endpoint('a').copies.keys()][0]!,
      target: 'c',
      origin: 'manual',
    });
    await world.rest();
    expect((await manual).record.outcome).toBe('committed');
  });

  it('a dead engine is started anew, later each time, told everything, and its waiting moves are dropped', async () => {
    const { start, setups, posted } = puppet();
    const world = await openWorld('mode: act', start, { concurrency: 1 });
    const ids = [...world.endpoint('a').copies.keys()];
    world.core.state.coordinator.pauseAt('preparing');
    setups[0]!.onOutputs([plan(ids)]);
    setups[0]!.onExit('ended with 1');
    expect(world.core.state.coordinator.waiting).toBe(0);
    expect(hostOf(world).view).toMatchObject({ engine: 'restarting', restarts: 1 });
    await world.advance(1100);
    expect(setups.length).toBe(2);
    expect(posted[1]!.filter((i) => i.kind === 'session' && i.what === 'opened').length).toBe(20);
    expect(posted[1]![0]).toMatchObject({ kind: 'fleet' });
    expect(hostOf(world).view.events).toContainEqual(expect.objectContaining({ name: 'engine-lost' }));
    setups[1]!.onExit('ended with 1');
    await world.advance(1100);
    expect(setups.length).toBe(2);
    await world.advance(1100);
    expect(setups.length).toBe(3);
  });

  it('an engine that hangs is ended', async () => {
    const { start, setups, isClosed } = puppet();
    const world = await openWorld('mode: act', start);
    for (let t = 0; t < 25; t++) await world.advance(1000);
    expect(isClosed[0]).toBe(true);
    expect(setups.length).toBeGreaterThan(1);
  });

  it('a replay of the recording says exactly what the live engine said', async () => {
    const said: EngineOutput[] = [];
    const file = join(directory, 'recording.jsonl');
    const start: StartRunner = (setup) =>
      startInlineRunner({
        ...setup,
        onOutputs: (outputs) => {
          said.push(...outputs);
          setup.onOutputs(outputs);
        },
      });
    const world = await openWorld(`mode: act, record: ${file}`, start);
    await live(world, 90, (t) => 0.3 + Math.max(0, t - 30) * 0.02, { n: 0 });
    hostOf(world).setMode('shadow');
    await live(world, 3, () => 1, { n: 500 });
    world.core.close();
    expect(said.some((o) => o.kind === 'plan' && o.disposition === 'move' && o.moves.length > 0)).toBe(true);
    const again: EngineOutput[] = [];
    const { isWhole } = replay(readFileSync(file, 'utf8').split('\n'), (o) => again.push(o));
    expect(isWhole).toBe(true);
    expect(again).toEqual(said);
  });

  it('brakes pulled by stale telemetry drop what waits', async () => {
    const world = await openWorld('mode: act, rule: reactive', startInlineRunner);
    await live(world, 5, () => 0.2, { n: 0 });
    for (let t = 0; t < 12; t++) {
      await world.settle();
      await world.advance(1000);
    }
    expect(world.core.state.counters.get('analytics_brake_stale_total')).toBe(1);
    const commands = createAnalyticsCommands(hostOf(world));
    const status = await commands['analytics.status']({ cmd: 'analytics.status' });
    expect(status.engine).toMatchObject({ brakes: ['stale'] });
  });

  it('a session may ask for its own move by a verdict in act, not in off, and never for another endpoint’s session', async () => {
    const { start } = puppet();
    const world = await openWorld('mode: act', start);
    const told: { t: string; n?: number; outcome?: string; reason?: string }[] = [];
    for (const name of ['a', 'b']) {
      const { channel } = world.link(name)!;
      const send = channel.send.bind(channel);
      Object.assign(channel, { send: (m: { t: string }) => (told.push(m), send(m)) });
    }
    const [first, second, third] = [...world.endpoint('a').copies.keys()];
    const ask = async (
      from: string,
      n: number,
      id: string,
      byVerdict: boolean,
    ): Promise<object | undefined> => {
      world.link(from)?.fromEndpoint({ t: 'wants-move', n, id, target: 'c', byVerdict });
      await world.rest();
      return told.find((m) => m.t === 'move-answer' && m.n === n);
    };
    expect(await ask('b', 1, first!, true)).toMatchObject({ outcome: 'refused' });
    expect(world.endpoint('a').copies.has(first!)).toBe(true);
    expect(await ask('a', 2, first!, true)).toMatchObject({ outcome: 'committed' });
    expect(world.endpoint('c').copies.has(first!)).toBe(true);
    hostOf(world).setMode('off');
    expect(await ask('a', 3, second!, true)).toMatchObject({ outcome: 'refused' });
    // What the application wants without a verdict is a manual move.
    expect(await ask('a', 4, third!, false)).toMatchObject({ outcome: 'committed' });
    expect(hostOf(world).view.moves).toMatchObject({ committed: 1 });
  });
});

describe('a session that asks by its verdict', () => {
  type Answer = { t: string; n: number; outcome: string; reason: string };

  /** An engine that says what the test says, and endpoint a as one whose sessions ask. */
  async function openAsking(moves: string, concurrency = 256) {
    const { start, setups, posted } = puppet();
    const config = testConfig(
      directory,
      `analytics: {mode: act}\nmoves: {concurrency: ${concurrency}, ${moves}}`,
    );
    const world = new World(config, names, start);
    for (const name of names) world.connect(name);
    await world.settle();
    const ids = Array.from({ length: 4 }, () => world.open('a'));
    await world.settle();
    const answers = new Map<number, Answer & { atMs: number }>();
    const { channel } = world.link('a')!;
    const send = channel.send.bind(channel);
    Object.assign(channel, {
      send: (message: Answer) => {
        if (message.t === 'move-answer')
          answers.set(message.n, { ...message, atMs: world.clock.monotonicMs() });
        send(message);
      },
    });
    let asked = 0;
    const ask = (id: string, target = 'b'): number => {
      world.link('a')?.fromEndpoint({ t: 'wants-move', n: ++asked, id, target, byVerdict: true });
      return asked;
    };
    const run = async (ms: number): Promise<void> => {
      for (let t = 0; t < ms; t += 5) {
        await world.settle();
        await world.advance(5);
      }
      await world.settle();
    };
    const { counters, history, coordinator } = world.core.state;
    const records = (): string[] =>
      history.since(0, 100).map((r) => `${r.sessionId} ${r.source}-${r.target} ${r.origin} ${r.outcome}`);
    const told = (): string[] =>
      posted[0]!.flatMap((i) =>
        i.kind === 'session' && i.what !== 'opened' ? [`${i.what} ${i.session}`] : [],
      );
    const say = (...outputs: EngineOutput[]): void => setups[0]!.onOutputs(outputs);
    return { world, ids, ask, answers, run, records, told, say, counters, coordinator };
  }

  it('and is planned at once moves exactly once, whichever comes first, and both are told', async () => {
    const askFirst = await openAsking('minimumResidence: 0s');
    const [id = ''] = askFirst.ids;
    askFirst.coordinator.pauseAt('preparing');
    const n = askFirst.ask(id);
    await askFirst.run(10);
    askFirst.say(plan([id]));
    askFirst.coordinator.resume();
    await askFirst.run(1100);
    expect(askFirst.records()).toEqual([`${id} a-b session committed`]);
    expect(askFirst.answers.get(n)).toMatchObject({ outcome: 'committed' });
    expect(hostOf(askFirst.world).view.moves).toEqual({ given: 1, committed: 1, reverted: 0, refused: 0 });
    expect(askFirst.told()).toEqual([`moved ${id}`]);

    const queued = await openAsking('minimumResidence: 0s', 1);
    const [first = '', second = ''] = queued.ids;
    queued.coordinator.pauseAt('preparing');
    queued.say(plan([first, second]));
    await queued.run(10);
    expect(queued.coordinator.waiting).toBe(1);
    const m = queued.ask(second);
    await queued.run(10);
    queued.coordinator.resume();
    await queued.run(1100);
    expect(queued.records()).toEqual([
      `${first} a-b recommended committed`,
      `${second} a-b session committed`,
    ]);
    expect(queued.answers.get(m)).toMatchObject({ outcome: 'committed' });
    expect(queued.coordinator.waiting).toBe(0);
    expect(hostOf(queued.world).view.moves).toEqual({ given: 2, committed: 2, reverted: 0, refused: 0 });
    expect(queued.counters.get('analytics_moves_committed_total')).toBe(2);
    expect(queued.counters.get('analytics_self_moves_committed_total')).toBe(1);
    expect(queued.counters.get('moves_begun_session_total')).toBe(1);
    expect(queued.counters.get('moves_begun_recommended_total')).toBe(1);
    expect(queued.told()).toEqual([`moved ${first}`, `moved ${second}`]);
  });

  it('while it is moved already joins that move', async () => {
    const { ids, ask, answers, run, records, say, coordinator, world } =
      await openAsking('minimumResidence: 0s');
    const [id = ''] = ids;
    coordinator.pauseAt('holding');
    say(plan([id]));
    await run(10);
    const n = ask(id, 'c');
    await run(100);
    expect(answers.has(n)).toBe(false);
    coordinator.resume();
    await run(100);
    expect(records()).toEqual([`${id} a-b recommended committed`]);
    expect(answers.get(n)).toMatchObject({ outcome: 'committed' });
    expect(hostOf(world).view.moves).toMatchObject({ committed: 1 });
  });

  it('beyond the rate is refused at once; within 50 ms it waits, and goes before the plan', async () => {
    const { ids, ask, answers, run, records, say, world, coordinator } = await openAsking(
      'minimumResidence: 0s, perSecond: 10',
    );
    const [first = '', second = '', third = '', fourth = ''] = ids;
    say(plan([first, second]));
    await run(20);
    const early = ask(third);
    const askedAtMs = world.clock.monotonicMs();
    await world.settle();
    expect(answers.get(early)).toMatchObject({ outcome: 'refused', atMs: askedAtMs });
    expect(answers.get(early)?.reason).toMatch(/^deadline_exceeded: .*moves\.perSecond/);
    expect(world.endpoint('a').copies.get(third)).toMatchObject({ phase: 'live' });
    // The plan stands as it was.
    expect(coordinator.waiting).toBe(1);
    await run(40);
    const soon = ask(third);
    const next = ask(fourth);
    await world.settle();
    // One place in 40 ms, and it is taken.
    expect(answers.get(next)).toMatchObject({ outcome: 'refused' });
    await run(60);
    expect(answers.get(soon)).toMatchObject({ outcome: 'committed' });
    await run(200);
    expect(records()).toEqual([
      `${first} a-b recommended committed`,
      `${third} a-b session committed`,
      `${second} a-b recommended committed`,
    ]);
  });

  it('before it has been long enough where it is is refused, and an operator is not', async () => {
    const { ids, ask, answers, run, records, coordinator } = await openAsking('minimumResidence: 1s');
    const [id = ''] = ids;
    await run(500);
    const n = ask(id);
    await run(5);
    expect(answers.get(n)?.reason).toMatch(/^deadline_exceeded: .*moves\.minimumResidence/);
    await run(460);
    const m = ask(id);
    await run(100);
    expect(answers.get(m)).toMatchObject({ outcome: 'committed' });
    const manual = coordinator.migrate({ sessionId: id, target: 'c', origin: 'manual' });
    await run(50);
    expect((await manual).record).toMatchObject({ outcome: 'committed', origin: 'manual' });
    expect(records().length).toBe(2);
  });

  it('that finds no place is refused after 50 ms, one that finds the queue full at once', async () => {
    const { ids, ask, answers, run, say, world, coordinator, told } = await openAsking(
      'minimumResidence: 0s, maxQueued: 2',
      1,
    );
    const [first = '', second = '', third = '', fourth = ''] = ids;
    coordinator.pauseAt('preparing');
    say(plan([first, second]));
    await run(5);
    const waits = ask(third);
    const askedAtMs = world.clock.monotonicMs();
    await world.settle();
    const full = ask(fourth);
    await world.settle();
    expect(answers.get(full)?.reason).toMatch(/^no_capacity: /);
    expect(answers.has(waits)).toBe(false);
    await run(60);
    expect(answers.get(waits)).toMatchObject({ outcome: 'refused', atMs: askedAtMs + 50 });
    expect(answers.get(waits)?.reason).toMatch(/^deadline_exceeded: .*moves\.concurrency/);
    expect(coordinator.waiting).toBe(1);
    // What asked is served where it is; the engine's plan is none of its business.
    await run(1100);
    expect(told()).toEqual([]);
    expect(world.endpoint('a').copies.get(third)).toMatchObject({ phase: 'live' });
  });

  it('is answered at once when nothing moves by itself any more', async () => {
    const { ids, ask, answers, run, say, world, coordinator } = await openAsking('minimumResidence: 0s', 1);
    const [first = '', second = ''] = ids;
    coordinator.pauseAt('preparing');
    say(plan([first]));
    await run(5);
    const n = ask(second);
    await run(10);
    expect(coordinator.waiting).toBe(1);
    expect(hostOf(world).setMode('off')).toMatchObject({ dropped: 1 });
    expect(answers.get(n)).toMatchObject({ outcome: 'refused' });
    expect(answers.get(n)?.reason).toMatch(/^closed: /);
    coordinator.resume();
    await run(200);
    expect(coordinator.waiting).toBe(0);
  });

  it('whose own move is reverted tells the engine so, once', async () => {
    const { ids, ask, answers, run, told, counters, world } = await openAsking('minimumResidence: 0s');
    const [id = ''] = ids;
    world.mishaps.thaw = 1;
    const n = ask(id);
    await run(1100);
    expect(answers.get(n)).toMatchObject({ outcome: 'reverted' });
    expect(told()).toEqual([`reverted ${id}`]);
    expect(counters.get('analytics_moves_reverted_total')).toBe(1);
    expect(counters.get('analytics_self_moves_reverted_total')).toBe(1);
  });
});

describe('a plan that is late', () => {
  it('does not move on a session that somebody else has moved meanwhile', async () => {
    const { start, setups } = puppet();
    const world = await openWorld('mode: act', start, { sessions: 2, concurrency: 1 });
    const { coordinator, history } = world.core.state;
    const [first = '', second = ''] = [...world.endpoint('a').copies.keys()];
    coordinator.pauseAt('preparing');
    setups[0]!.onOutputs([plan([first, second])]);
    const manual = coordinator.migrate({ sessionId: second, target: 'c', origin: 'manual' });
    await world.settle();
    coordinator.resume();
    await world.rest();
    expect((await manual).record.outcome).toBe('committed');
    expect(history.since(0, 10).map((r) => `${r.sessionId} ${r.target}`)).toEqual([
      `${first} b`,
      `${second} c`,
    ]);
    expect(hostOf(world).view.moves).toEqual({ given: 2, committed: 1, reverted: 0, refused: 1 });
  });
});
