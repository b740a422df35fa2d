/** Figures of protection's cost. */
import { describe, expect, it } from 'vitest';
import { DelayLog, EndpointCost, SessionCost } from './commit-cost.js';

describe('DelayLog', () => {
  it('gives quantiles to a third of an octave, and nothing of nothing', () => {
    const log = new DelayLog();
    expect(log.figures).toEqual({ p50: 0, p99: 0 });
    for (let i = 1; i <= 1000; i++) log.add(i / 1000);
    for (const [q, exact] of [
      ['p50', 0.5],
      ['p99', 0.99],
    ] as const) {
      expect(log.figures[q]).toBeGreaterThanOrEqual(exact);
      expect(log.figures[q]).toBeLessThan(exact * 1.3);
    }
  });

  it('goes on beyond what a bucket holds, and what is new weighs more', () => {
    const log = new DelayLog();
    for (let i = 0; i < 200_000; i++) log.add(1);
    for (let i = 0; i < 100_000; i++) log.add(100);
    expect(log.figures.p50).toBeGreaterThanOrEqual(100);
    log.add(1e9);
    log.add(-5);
    expect(log.figures.p99).toBeLessThan(130);
  });
});

describe('SessionCost', () => {
  it('counts a commit once, from its making, and output from when it was written', () => {
    const endpoint = new EndpointCost();
    const cost = new SessionCost(endpoint);
    cost.produced(0);
    cost.produced(3);
    cost.made({ n: 1, allBytes: 10 }, 4);
    cost.made({ n: 2, allBytes: 15 }, 5);
    cost.acknowledged(2, 8);
    cost.acknowledged(2, 1000);
    const { commitDelayMs, addedLatencyMs } = cost.delays;
    expect(commitDelayMs.p99).toBeGreaterThanOrEqual(4);
    expect(commitDelayMs.p99).toBeLessThan(5.2);
    expect(addedLatencyMs.p50).toBeGreaterThanOrEqual(8);
    expect(addedLatencyMs.p50).toBeLessThan(10.1);
    expect(endpoint.gauges['endpoint_replicated_bytes']).toBe(15);
    expect(endpoint.gauges['endpoint_added_latency_p50_us']).toBe(addedLatencyMs.p50 * 1000);
  });
});
