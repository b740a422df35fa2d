/** Ten thousand clients of a dead endpoint are told without anybody else having to wait for it. */
import { createCounters, silentLogger } from '@restitch/core';
import type { Flow, Logger } from '@restitch/core';
import { expect, it } from 'vitest';
import { ClientEnds } from './client-ends.js';
import { createFlowBatch } from '../model/flow-batch.js';
import { FakeDataplane } from '../testing/fake-dataplane.js';
import { flowOfPort } from '../testing/protected-world.js';
import { VirtualClock, settleMicrotasks } from '../testing/virtual-clock.js';

interface Stage {
  readonly clock: VirtualClock;
  readonly dataplane: FakeDataplane;
  readonly counters: ReturnType<typeof createCounters>;
  readonly ends: ClientEnds;
}

function openStage(logger: Logger = silentLogger): Stage {
  const clock = new VirtualClock();
  const dataplane = new FakeDataplane(clock);
  const counters = createCounters();
  const batch = createFlowBatch(dataplane, clock, counters);
  const ends = new ClientEnds({ clock, counters, logger, dataplane, batch, lingerMs: () => 1000 });
  return { clock, dataplane, counters, ends };
}

function claim({ dataplane }: Stage, n: number): Flow {
  const flow = {
    ...flowOfPort(1 + (n % 60_000)),
    vip: { address: '10.0.0.100', port: 7000 + Math.floor(n / 60_000) },
  };
  dataplane.apply([{ op: 'claim', flow, endpointId: 1, epoch: 0 }]);
  return flow;
}

it('starts a handful in a turn of the event loop, and all of them soon', async () => {
  const stage = openStage();
  const flows = Array.from({ length: 10_000 }, (_, i) => claim(stage, i));
  const all = Promise.all(flows.map((flow) => stage.ends.end({ flow, epoch: 0 })));
  await settleMicrotasks();
  let most = stage.dataplane.resets.length;
  for (let ms = 0; ms < 200; ms++) {
    const before = stage.dataplane.resets.length;
    await stage.clock.advance(1);
    most = Math.max(most, stage.dataplane.resets.length - before);
  }
  expect(most).toBeLessThanOrEqual(64);
  expect(stage.dataplane.resets).toHaveLength(10_000);
  expect(new Set(await all)).toEqual(new Set(['reset']));
  expect(stage.counters.get('protection_clients_reset_total')).toBe(10_000);
  expect(stage.dataplane.list().every((record) => record.phase === 'closing')).toBe(true);
}, 60_000);

it('clients that do not answer do not keep out the rest', async () => {
  const stage = openStage();
  const silent = new Set<string>();
  const reset = stage.dataplane.resetClient.bind(stage.dataplane);
  stage.dataplane.resetClient = async (flow) => {
    await reset(flow);
    if (flow.client.port > 3000) return 'reset';
    silent.add(String(flow.client.port));
    await new Promise<void>((resolve) => stage.clock.after(4000, resolve));
    return 'unanswered';
  };
  for (let i = 0; i < 4000; i++) void stage.ends.end({ flow: claim(stage, i), epoch: 0 });
  await stage.clock.advance(200);
  expect(silent.size).toBe(3000);
  expect(stage.counters.get('protection_clients_reset_total')).toBe(1000);
  await stage.clock.advance(5000);
  expect(stage.counters.get('protection_clients_unanswered_total')).toBe(3000);
});

it('waits until kept packets are written back, and closes a record that is another`s by then to nobody`s harm', async () => {
  const stage = openStage();
  const flow = claim(stage, 1);
  const { dataplane, clock } = stage;
  dataplane.apply([{ op: 'hold', flow, epoch: 0, deadlineNs: clock.monotonicNs() + 1_000_000_000n }]);
  expect(dataplane.packet(flow)).toBe('kept');
  dataplane.apply([{ op: 'release', flow, epoch: 0 }]);
  expect(dataplane.lookup(flow)?.phase).toBe('releasing');
  const ending = stage.ends.end({ flow, epoch: 0 });
  await stage.clock.advance(30);
  expect(stage.dataplane.resets).toEqual([]);
  await stage.clock.advance(100);
  expect(await ending).toBe('reset');
  const other = claim(stage, 2);
  stage.dataplane.apply([{ op: 'claim', flow: other, endpointId: 2, epoch: 5 }]);
  const late = stage.ends.end({ flow: other, epoch: 0 });
  await stage.clock.advance(500);
  expect(await late).toBe('unanswered');
  expect(stage.dataplane.lookup(other)).toMatchObject({ endpointId: 2, epoch: 5, phase: 'active' });
});

it('says once that it cannot reset, and counts the rest', async () => {
  const errors: string[] = [];
  const stage = openStage({ ...silentLogger, error: (_fields, text) => void errors.push(String(text)) });
  stage.dataplane.resetClient = () => Promise.reject(new TypeError('EPERM'));
  const all = Promise.all([1, 2, 3].map((n) => stage.ends.end({ flow: claim(stage, n), epoch: 0 })));
  await stage.clock.advance(100);
  expect(await all).toEqual(['unanswered', 'unanswered', 'unanswered']);
  expect(errors).toHaveLength(1);
  expect(stage.counters.get('protection_resets_failed_total')).toBe(3);
});
