/** Paths as the engine hears of them, with an echo and a clock that tests own. */
import type { EngineInput } from '@restitch/analytics';
import { createCounters, silentLogger } from '@restitch/core';
import type { EchoReply, IcmpEcho } from '@restitch/sys/internal';
import { describe, expect, it } from 'vitest';
import { EndpointRegistry } from '../model/endpoint-registry.js';
import type { EndpointLink } from '../model/endpoint-link.js';
import { VirtualClock } from '../testing/virtual-clock.js';
import type { OwnCountsReader } from './own-counts.js';
import { PathProbes } from './path-probes.js';

/** A network that answers, or not, after a while. */
class FakeEcho implements IcmpEcho {
  rttMs = 2;
  answers: (n: number) => boolean = () => true;
  sent = 0;
  readonly #clock: VirtualClock;
  #replies: EchoReply[] = [];
  stepUs = 0;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  send(_to: string, sequence: number): number | undefined {
    const sentUs = this.#clock.wallMs() * 1000;
    if (this.answers(this.sent++))
      this.#replies.push({ sequence, receivedUs: sentUs + this.rttMs * 1000 + this.stepUs });
    return sentUs;
  }

  receive(): EchoReply[] {
    return this.#replies.splice(0);
  }

  close(): void {}
}

interface Bench {
  readonly clock: VirtualClock;
  readonly echo: FakeEcho;
  readonly told: Array<Extract<EngineInput, { kind: 'path' }>>;
  readonly counters: ReturnType<typeof createCounters>;
  bytes: number;
  configuredBps: number | undefined;
  isConnected: boolean;
  run(ms: number): Promise<void>;
}

function open(openEcho?: () => IcmpEcho): Bench {
  const clock = new VirtualClock();
  const endpoints = new EndpointRegistry({ idOf: () => 1, names: () => [] }, () => 100);
  const endpoint = endpoints.ensure('a');
  endpoint.hello = { dataAddress: '10.0.0.1' } as NonNullable<typeof endpoint.hello>;
  const request = (_m: unknown, done: (data: object) => void): void =>
    void clock.after(7, () => done({ owned: [] }));
  const link = { request } as unknown as EndpointLink;
  const echo = new FakeEcho(clock);
  const counters = createCounters();
  const bench: Bench = {
    clock,
    echo,
    told: [],
    counters,
    bytes: 0,
    configuredBps: undefined,
    isConnected: true,
    async run(ms) {
      for (let i = 0; i < ms / 50; i++) {
        endpoint.link = bench.isConnected ? link : undefined;
        await clock.advance(50);
      }
    },
  };
  const probes = new PathProbes({
    clock,
    counters,
    logger: silentLogger,
    endpoints,
    sink: { push: (input) => void (input.kind === 'path' && bench.told.push(input)) },
    ownCounts: { of: () => ({ bytes: bench.bytes, packets: 0 }) } as unknown as OwnCountsReader,
    intervalMs: () => 250,
    bandwidthBps: () => bench.configuredBps,
    openEcho: openEcho ?? (() => echo),
  });
  probes.start();
  return bench;
}

describe('a path', () => {
  it('is told once a second with its median round trip and no loss', async () => {
    const bench = open();
    await bench.run(5000);
    expect(bench.told.length).toBeGreaterThanOrEqual(4);
    expect(bench.told.length).toBeLessThanOrEqual(6);
    expect(bench.told.at(-1)).toMatchObject({ endpoint: 'a', rttMs: 2, lossRatio: 0 });
  });

  it('that loses every fourth probe says a quarter', async () => {
    const bench = open();
    bench.echo.answers = (n) => n % 4 !== 0;
    await bench.run(20_000);
    expect(bench.told.at(-1)?.lossRatio).toBeCloseTo(0.25, 1);
  });

  it('that breaks has all its loss and no round trip, and is well again after its window', async () => {
    const bench = open();
    await bench.run(5000);
    bench.echo.answers = () => false;
    await bench.run(15_000);
    expect(bench.told.at(-1)).toMatchObject({ lossRatio: 1 });
    expect(bench.told.at(-1)).not.toHaveProperty('rttMs');
    bench.echo.answers = () => true;
    await bench.run(15_000);
    expect(bench.told.at(-1)).toMatchObject({ lossRatio: 0, rttMs: 2 });
  });

  it('where ICMP is filtered has the round trip of the control connection and no word on loss', async () => {
    const bench = open();
    bench.echo.answers = () => false;
    await bench.run(10_000);
    expect(bench.told.at(-1)).toMatchObject({ rttMs: 7 });
    expect(bench.told.every((t) => t.lossRatio === undefined)).toBe(true);
  });

  it('without the right to send ICMP likewise, and says so once', async () => {
    const bench = open(() => {
      throw new Error('EPERM');
    });
    await bench.run(5000);
    expect(bench.told.at(-1)).toMatchObject({ rttMs: 7 });
    expect(bench.counters.get('path_probes_unusable_total')).toBe(1);
  });

  it.each([-3_600_000_000, -5000, 900_000_000])(
    'takes no round trip across a step of the wall clock (%s µs)',
    async (stepUs) => {
      const bench = open();
      bench.echo.stepUs = stepUs;
      await bench.run(5000);
      expect(bench.told.every((t) => t.rttMs === undefined)).toBe(true);
      expect(bench.told.at(-1)).toMatchObject({ lossRatio: 0 });
    },
  );

  it('of an endpoint that is not connected is not told, and begins anew when it is', async () => {
    const bench = open();
    await bench.run(5000);
    bench.isConnected = false;
    const before = bench.told.length;
    await bench.run(5000);
    expect(bench.told.length).toBe(before);
    bench.isConnected = true;
    await bench.run(3000);
    expect(bench.told.at(-1)).toMatchObject({ rttMs: 2, lossRatio: 0 });
  });
});

describe('bandwidth', () => {
  async function use(bench: Bench, bytesPerSec: number, seconds: number): Promise<void> {
    for (let i = 0; i < seconds * 20; i++) {
      bench.bytes += bytesPerSec / 20;
      await bench.run(50);
    }
  }

  it('is the configured capacity less what was forwarded, and never negative', async () => {
    const bench = open();
    bench.configuredBps = 1e6;
    await use(bench, 50_000, 4);
    expect(bench.told.at(-1)?.bandwidthFrom).toBe('configured');
    expect(bench.told.at(-1)?.bandwidthBps).toBeCloseTo(600_000, -4);
    await use(bench, 500_000, 4);
    expect(bench.told.at(-1)?.bandwidthBps).toBe(0);
  });

  it('without one is what the path has been seen to carry, and says that it is learned', async () => {
    const bench = open();
    await use(bench, 100_000, 4);
    await use(bench, 25_000, 4);
    expect(bench.told.at(-1)?.bandwidthFrom).toBe('learned');
    expect(bench.told.at(-1)?.bandwidthBps).toBeCloseTo(600_000, -4);
  });

  it('is unknown while nothing was carried, and when the counters begin anew', async () => {
    const bench = open();
    await bench.run(3000);
    expect(bench.told.at(-1)).not.toHaveProperty('bandwidthBps');
    await use(bench, 100_000, 3);
    bench.bytes = 0;
    await bench.run(1000);
    expect(bench.told.at(-1)).not.toHaveProperty('bandwidthBps');
  });
});
