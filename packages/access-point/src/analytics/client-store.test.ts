/** The past of clients over restarts, damage, clock jumps and erasure. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClientHistory, type EngineInput } from '@restitch/analytics';
import { createCounters, silentLogger } from '@restitch/core';
import { afterEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '../testing/virtual-clock.js';
import { ClientStore } from './client-store.js';

const cleanups: Array<() => void | Promise<void>> = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const day = 86_400_000;

/** Wall time that can step. */
class SteppingClock extends VirtualClock {
  stepMs = 0;
  override wallMs(): number {
    return super.wallMs() + 1.8e12 + this.stepMs;
  }
}

interface Bench {
  readonly store: ClientStore;
  readonly clock: SteppingClock;
  readonly directory: string;
  readonly told: EngineInput[];
  readonly events: string[];
  readonly counters: ReturnType<typeof createCounters>;
  /** A session of a client that lived so long. */
  live(client: string, lifeS: number): void;
}

let ids = 0;

function open(options: { directory?: string; clock?: SteppingClock; maxPrefixes?: number } = {}): Bench {
  const { clock = new SteppingClock(), maxPrefixes = 100 } = options;
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'restitch-clients-'));
  if (options.directory === undefined) cleanups.push(() => rmSync(directory, { recursive: true }));
  const told: EngineInput[] = [];
  const events: string[] = [];
  const counters = createCounters();
  const store = new ClientStore({
    clock,
    counters,
    logger: silentLogger,
    directory,
    retentionMs: () => 30 * day,
    maxPrefixes,
    sink: { push: (input) => told.push(input) },
    onEvent: (name, text) => events.push(`${name}: ${text}`),
  });
  store.start();
  cleanups.push(() => store.close());
  const live = (client: string, lifeS: number): void => {
    const id = `s${++ids}`;
    const atMs = clock.monotonicMs();
    const base = { kind: 'session', session: id, endpoint: 'a' } as const;
    store.push({ ...base, what: 'opened', client, atMs });
    store.push({ ...base, what: 'ended', atMs: atMs + lifeS * 1000 });
  };
  return { store, clock, directory, told, events, counters, live };
}

/** What a new engine would expect of a client. */
function expectedLifeS(store: ClientStore, prefix: string): number {
  const [input] = store.inputs();
  if (input?.kind !== 'history') throw new Error('no history');
  return ClientHistory.restore(input.stored)?.expectedRemainingS(prefix, 0) ?? Number.NaN;
}

async function waitMinutes(bench: Bench, minutes: number): Promise<void> {
  for (let i = 0; i < minutes; i++) {
    await bench.clock.advance(60_000);
    await bench.store.save();
  }
}

describe('the past of clients', () => {
  it('survives a restart, by prefix', async () => {
    const first = open();
    for (let i = 0; i < 50; i++) {
      first.live('10.1.1.7', 3);
      first.live('10.2.2.7', 4000);
    }
    const input = { kind: 'sessions', atMs: 1, endpoint: 'a', total: 1 } as const;
    const row = { id: 'x', ageMs: 0, periodMs: 1000, requests: 20, bytesIn: 1, bytesOut: 1 };
    first.store.push({ ...input, sessions: [{ ...row, client: '10.1.1.7' }] });
    await first.store.save();
    const second = open({ directory: first.directory, clock: first.clock });
    expect(second.events).toEqual([]);
    expect(second.store.size).toBe(2);
    expect(expectedLifeS(second.store, '10.1.1.0/24')).toBeLessThan(1000);
    expect(expectedLifeS(second.store, '10.2.2.0/24')).toBeGreaterThan(3000);
    expect(readdirSync(first.directory)).toEqual(['clients.bin']);
  });

  it('is saved when the daemon stops, and by itself once a minute', async () => {
    const first = open();
    first.live('10.1.1.7', 3);
    await first.store.close();
    expect(open({ directory: first.directory, clock: first.clock }).store.size).toBe(1);
    expect(readdirSync(first.directory)).toEqual(['clients.bin']);
    const other = open();
    other.live('10.1.1.7', 3);
    await waitMinutes(other, 1);
    expect(readdirSync(other.directory)).toContain('clients.bin');
  });

  it('ends on disk with the newest, also when the daemon stops while it is written', async () => {
    const bench = open({ maxPrefixes: 5000 });
    for (let i = 0; i < 1000; i++) bench.live(`10.${i >> 8}.${i & 255}.1`, 5);
    const saving = bench.store.save();
    bench.live('11.1.1.1', 5);
    await bench.store.close();
    await saving;
    const { directory, clock } = bench;
    expect(open({ directory, clock, maxPrefixes: 5000 }).store.size).toBe(1001);
    expect(readdirSync(directory)).toEqual(['clients.bin']);
  });

  it('is whole on disk also when clients come while it is written', async () => {
    const bench = open({ maxPrefixes: 5000 });
    for (let i = 0; i < 2000; i++) bench.live(`10.${i >> 8}.${i & 255}.1`, 5);
    const saving = bench.store.save();
    for (let i = 0; i < 500; i++) {
      bench.live(`11.${i >> 8}.${i & 255}.1`, 5);
      if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await saving;
    const again = open({ directory: bench.directory, clock: bench.clock, maxPrefixes: 5000 });
    expect(again.events).toEqual([]);
    expect(again.store.size).toBeGreaterThanOrEqual(2000);
  });

  it('is bounded: who was not seen for longest goes first', () => {
    const bench = open({ maxPrefixes: 3 });
    for (const i of [1, 2, 3, 4, 5]) bench.live(`10.0.${i}.1`, 5);
    expect(bench.store.size).toBe(3);
    expect(bench.told.map((t) => t.kind === 'erase' && t.prefix)).toEqual(['10.0.1.0/24', '10.0.2.0/24']);
  });
});

describe('a file of the past', () => {
  const damages: Array<[string, (bytes: Buffer) => Buffer]> = [
    ['cut off', (b) => b.subarray(0, b.length - 40)],
    ['empty', () => Buffer.alloc(0)],
    ['with a flipped bit', (b) => Buffer.from(b.map((byte, i) => (i === 60 ? byte ^ 4 : byte)))],
    ['of another kind', () => Buffer.from('hello, this is no history of clients at all')],
    ['of a later version', (b) => Buffer.from(b.map((byte, i) => (i === 4 ? 9 : byte)))],
  ];
  it.each(damages)('%s is a cold start with an event, and kept aside', async (_, damage) => {
    const first = open();
    first.live('10.1.1.7', 3);
    await first.store.save();
    await first.store.close();
    const path = join(first.directory, 'clients.bin');
    writeFileSync(path, damage(readFileSync(path)));
    const second = open({ directory: first.directory, clock: first.clock });
    expect(second.store.size).toBe(0);
    expect(second.events).toHaveLength(1);
    expect(second.events[0]).toMatch(/^cold-start: /);
    expect(second.counters.get('client_history_cold_starts_total')).toBe(1);
    expect(readdirSync(first.directory)).toEqual(['clients.bin.damaged']);
    second.live('10.1.1.7', 3);
    await second.store.save();
    expect(open({ directory: first.directory, clock: first.clock }).events).toEqual([]);
  });
});

describe('retention', () => {
  it('forgets who was not seen for its time, also in the engine', async () => {
    const bench = open();
    bench.live('10.1.1.7', 3);
    await bench.clock.advance(29 * day);
    bench.live('10.2.2.7', 3);
    await bench.store.save();
    await bench.clock.advance(2 * day);
    expect(bench.store.size).toBe(1);
    expect(bench.told).toMatchObject([{ kind: 'erase', prefix: '10.1.1.0/24' }]);
  });

  it('counts time while the daemon is down', async () => {
    const first = open();
    first.live('10.1.1.7', 3);
    await first.store.save();
    await first.store.close();
    first.clock.stepMs = 31 * day;
    expect(open({ directory: first.directory, clock: first.clock }).store.size).toBe(0);
  });

  it.each([400 * day, -400 * day])('takes a step of the wall clock (%s ms) for no time', async (stepMs) => {
    const bench = open();
    bench.live('10.1.1.7', 3);
    await waitMinutes(bench, 1);
    bench.clock.stepMs = stepMs;
    await waitMinutes(bench, 2);
    expect(bench.store.size).toBe(1);
    expect(bench.counters.get('client_history_clock_jumps_total')).toBe(1);
    await bench.clock.advance(31 * day);
    expect(bench.store.size).toBe(0);
  });
});

describe('forgetting', () => {
  it('takes a block of clients from memory, disk and engine before it answers', async () => {
    const bench = open();
    for (const client of ['10.1.1.7', '10.1.2.7', '10.2.1.7', '2001:db8:5::1']) bench.live(client, 3);
    await bench.store.save();
    expect(await bench.store.forget('10.1.0.0/16')).toBe(2);
    expect(readFileSync(join(bench.directory, 'clients.bin'), 'latin1')).not.toContain('10.1.');
    expect(bench.told.map((t) => t.kind === 'erase' && t.prefix)).toEqual(['10.1.1.0/24', '10.1.2.0/24']);
    expect(await bench.store.forget('2001:db8:5:6::9')).toBe(1);
    expect(await bench.store.forget('10.9.0.0/16')).toBe(0);
    expect(bench.store.size).toBe(1);
  });

  it('also the session that is open now: its end teaches nothing', async () => {
    const bench = open();
    const session = { kind: 'session', session: 'open', endpoint: 'a', atMs: 0 } as const;
    bench.live('10.1.1.8', 3);
    bench.store.push({ ...session, what: 'opened', client: '10.1.1.7' });
    await bench.store.forget('10.1.1.7');
    bench.store.push({ ...session, what: 'ended', atMs: 9000 });
    expect(bench.store.size).toBe(0);
  });

  it('of what is no block is refused', async () => {
    await expect(open().store.forget('10.1.0.0/99')).rejects.toMatchObject({ code: 'usage' });
  });
});
