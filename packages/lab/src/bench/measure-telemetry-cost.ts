/** What telemetry costs an endpoint: thread CPU of a period with so many sessions, and what its message weighs. */
import { createCounters } from '@restitch/core';
import { encodePlain } from '@restitch/wire/internal';
import { threadCpuNs } from '@restitch/sys';
import { SessionUsage } from '@restitch/endpoint/internal';
import type { Counted } from '@restitch/endpoint/internal';
import { SystemSampler } from '@restitch/endpoint/internal';
import { Telemetry } from '@restitch/endpoint/internal';

/** Costs in thread CPU time. */
export interface TelemetryCost {
  readonly sessions: number;
  readonly maxSessions: number;
  /** One period: sampling, choosing, encoding; milliseconds. */
  readonly periodMs: { readonly p50: number; readonly p99: number };
  /** Of these, reading /proc and the cgroup. */
  readonly sampleMs: { readonly p50: number; readonly p99: number };
  /** Share of one CPU at a message a second. */
  readonly cpuRatio: number;
  readonly messageBytes: number;
  /** Counting one piece of payload that came in and its answer, nanoseconds. */
  readonly countNs: number;
}

/** Runs `periods` periods over sessions of which half have news. Touches no network. */
export function measureTelemetryCost(sessions: number, maxSessions: number, periods: number): TelemetryCost {
  const table = new Map<string, Counted>();
  for (let i = 0; i < sessions; i++) {
    const id = `${String(i).padStart(8, '0')}-0000-4000-8000-000000000000`;
    table.set(id, { id, usage: new SessionUsage() });
  }
  let due: () => void = () => undefined;
  let nowMs = 0;
  let messageBytes = 0;
  const sampler = new SystemSampler();
  const telemetry = new Telemetry({
    sessions: { [Symbol.iterator]: () => table.values() },
    count: () => table.size,
    tell: (message) => {
      messageBytes = encodePlain(message).length;
    },
    queuedBytes: () => 0,
    clock: {
      wallMs: () => nowMs,
      monotonicMs: () => nowMs,
      monotonicNs: () => BigInt(nowMs) * 1_000_000n,
      after: (_, fn) => {
        due = fn;
        return () => undefined;
      },
    },
    counters: createCounters(),
    sampler,
  });
  telemetry.start({ periodMs: 1000, maxSessions });
  const whole: number[] = [];
  const samples: number[] = [];
  for (let period = 0; period < periods; period++) {
    use(table, period);
    nowMs += 1000;
    whole.push(cpuMsOf(due));
    samples.push(cpuMsOf(() => sampler.sample(nowMs + 1)));
  }
  telemetry.close();
  const spread = describe(whole);
  return {
    sessions,
    maxSessions,
    periodMs: spread,
    sampleMs: describe(samples),
    cpuRatio: spread.p50 / 1000,
    messageBytes,
    countNs: measureCounting(),
  };
}

function use(table: ReadonlyMap<string, Counted>, period: number): void {
  let i = 0;
  for (const { usage } of table.values()) {
    if ((i++ + period) % 2 === 0) continue;
    usage.received(100 + (i % 1000));
    usage.written(200);
  }
}

function measureCounting(): number {
  const usage = new SessionUsage();
  const rounds = 1_000_000;
  return (
    (cpuMsOf(() => {
      for (let i = 0; i < rounds; i++) {
        usage.received(100);
        usage.written(100);
      }
    }) *
      1e6) /
    rounds
  );
}

function cpuMsOf(work: () => void): number {
  const before = threadCpuNs();
  work();
  return (threadCpuNs() - before) / 1e6;
}

function describe(values: readonly number[]): { p50: number; p99: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}
