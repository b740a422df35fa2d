/** What becomes of an endpoint's word, in a whole daemon with fake endpoints and a clock that tests own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EngineInput } from '@restitch/analytics';
import { formatFlow } from '@restitch/core';
import { afterAll, describe, expect, it } from 'vitest';
import { testConfig } from '../testing/test-config.js';
import { World, flowOf } from '../testing/world.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-telemetry-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

class Told {
  readonly inputs: EngineInput[] = [];
  readonly world: World;
  #seq = 0;

  constructor(world: World) {
    this.world = world;
    world.core.state.inputs.attach({ push: (input) => this.inputs.push(input) });
  }

  async say(name: string, more: object = {}): Promise<void> {
    const atMs = this.world.clock.monotonicMs();
    const message = { t: 'telemetry', atMs, seq: ++this.#seq, total: 0, metrics: {}, sessions: [], ...more };
    this.world.link(name)?.fromEndpoint(message as never);
    await this.world.settle();
  }

  last<K extends EngineInput['kind']>(kind: K): Extract<EngineInput, { kind: K }> | undefined {
    return this.inputs.findLast((i): i is Extract<EngineInput, { kind: K }> => i.kind === kind);
  }

  view(name: string): unknown {
    const { collectors, endpoints } = this.world.core.state;
    return collectors.telemetry.viewOf(endpoints.require(name));
  }
}

async function open(): Promise<Told> {
  const world = new World(testConfig(directory), ['a', 'b']);
  for (const name of ['a', 'b']) world.connect(name);
  await world.settle();
  return new Told(world);
}

describe('telemetry of an endpoint', () => {
  it('reaches the engine on the clock of the access point, with its own counts and the client', async () => {
    const told = await open();
    const id = told.world.open('a');
    await told.world.settle();
    const row = [id, 0, 1000, 5, 100, 200];
    await told.say('a', { metrics: { cpuRatio: 0.5 }, sessions: [row], total: 1 });
    const atMs = told.world.clock.monotonicMs();
    expect(told.last('endpoint')).toEqual({
      kind: 'endpoint',
      atMs,
      endpoint: 'a',
      metrics: { cpuRatio: 0.5 },
    });
    expect(told.last('sessions')).toMatchObject({
      atMs,
      total: 1,
      sessions: [{ id, requests: 5, bytesIn: 100, bytesOut: 200, client: flowOf(1).client.address }],
      ownCounts: { bytes: 0, packets: 0 },
    });
    expect(told.view('a')).toMatchObject({ state: 'fresh', ageMs: 0 });
    expect(told.view('b')).toEqual({ state: 'none' });
  });

  it('speaks of its own sessions only', async () => {
    const told = await open();
    const id = told.world.open('a');
    await told.world.settle();
    await told.say('b', {
      sessions: [
        [id, 0, 1000, 5, 1, 1],
        ['nobody', 0, 1000, 5, 1, 1],
      ],
    });
    expect(told.last('sessions')?.sessions).toEqual([]);
    expect(told.world.counters.get('telemetry_foreign_sessions_total')).toBe(2);
  });

  it('that stops becomes unknown, once, and is known again by its next word', async () => {
    const told = await open();
    await told.say('a', { metrics: { cpuRatio: 0.9 } });
    await told.world.advance(3500);
    await told.world.settle();
    expect(told.inputs.filter((i) => i.kind === 'endpoint').map((i) => i.metrics)).toEqual([
      { cpuRatio: 0.9 },
      {},
    ]);
    expect(told.view('a')).toMatchObject({ state: 'silent', metrics: {} });
    await told.say('a', { metrics: { cpuRatio: 0.8 } });
    expect(told.view('a')).toMatchObject({ state: 'fresh', metrics: { cpuRatio: 0.8 } });
  });

  it('is unknown, not idle, when every figure is NaN or negative', async () => {
    const told = await open();
    await told.say('a', { metrics: { cpuRatio: Number.NaN, hostCpuRatio: -1 } });
    expect(told.last('endpoint')?.metrics).toEqual({});
    expect(told.world.counters.get('telemetry_figures_refused_total')).toBe(2);
  });
});

describe('a message', () => {
  it.each([
    ['that is older than one before', { seq: 1 }, 'telemetry_late_total'],
    ['whose clock went back', { atMs: 1 }, 'telemetry_clock_jumps_total'],
    ['whose clock ran an hour ahead', { atMs: 3_600_000 * 10 }, 'telemetry_clock_jumps_total'],
  ])('%s is left out and counted', async (_, more, counter) => {
    const told = await open();
    await told.world.advance(1000);
    await told.say('a', { metrics: { cpuRatio: 0.5 } });
    await told.world.advance(1000);
    await told.say('a', { metrics: { cpuRatio: 0.1 }, ...more });
    expect(told.last('endpoint')?.metrics).toEqual({ cpuRatio: 0.5 });
    expect(told.world.counters.get(counter)).toBe(1);
  });

  it('after a jump counts again, on the new clock', async () => {
    const told = await open();
    await told.world.advance(1000);
    await told.say('a', { metrics: { cpuRatio: 0.5 } });
    await told.say('a', { atMs: 3 });
    await told.world.advance(1000);
    await told.say('a', { atMs: 1003, metrics: { cpuRatio: 0.6 } });
    expect(told.last('endpoint')?.metrics).toEqual({ cpuRatio: 0.6 });
  });

  it('after a new connection counts from 1 again', async () => {
    const told = await open();
    for (let i = 0; i < 3; i++) await told.say('a');
    told.world.cut('a');
    told.world.connect('a');
    await told.world.settle();
    await told.say('a', { seq: 1, atMs: 7, metrics: { cpuRatio: 0.3 } });
    expect(told.last('endpoint')?.metrics).toEqual({ cpuRatio: 0.3 });
  });

  it('too many at once are left out; some after a stall are not', async () => {
    const told = await open();
    for (let i = 0; i < 50; i++) await told.say('a');
    expect(told.inputs.filter((i) => i.kind === 'endpoint').length).toBe(5);
    expect(told.world.counters.get('telemetry_flooded_total')).toBe(45);
  });

  it('without its frame (a number that is none) closes the connection, and the session goes on', async () => {
    const told = await open();
    const id = told.world.open('a');
    await told.world.settle();
    await told.say('a', { seq: -1 });
    expect(told.world.link('a')?.isOpenHere).toBe(false);
    expect(told.world.core.state.sessions.byId(id)).toBeDefined();
  });
});

describe('an endpoint that lies', () => {
  it('cannot claim more from its clients than the access point has seen pass', async () => {
    const told = await open();
    const id = told.world.open('a');
    await told.world.settle();
    told.world.dataplane.counted.set(formatFlow(flowOf(1)), { packets: 10n, bytes: 1000n });
    const slack = 8 * 1024 * 1024;
    const claimed: number[] = [];
    for (let i = 0; i < 4; i++) {
      await told.world.advance(1000);
      await told.say('a', { sessions: [[id, 0, 1000, 1e9, 1e9, 0]] });
      claimed.push(told.last('sessions')?.sessions[0]?.bytesIn ?? Number.NaN);
    }
    expect(claimed).toEqual([1000 + slack, 0, 0, 0]);
    expect(told.last('sessions')?.sessions[0]?.requests).toBe(0);
    expect(told.world.counters.get('telemetry_contradicted_total')).toBe(4);
  });

  it('is not taken for one when it tells the truth', async () => {
    const told = await open();
    const id = told.world.open('a');
    await told.world.settle();
    for (let i = 1; i <= 4; i++) {
      await told.world.advance(1000);
      told.world.dataplane.counted.set(formatFlow(flowOf(1)), {
        packets: 10n * BigInt(i),
        bytes: 20_000_000n * BigInt(i),
      });
      await told.say('a', { sessions: [[id, 0, 1000, 500, 18_000_000, 0]] });
      expect(told.last('sessions')?.sessions[0]).toMatchObject({ requests: 500, bytesIn: 18_000_000 });
    }
  });
});
