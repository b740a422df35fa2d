import type { Flow } from '@restitch/core';
import { silentLogger } from '@restitch/core';
import { describe, expect, it } from 'vitest';
import { type GuardedFlow, guardFlags } from '../kernel/layout.js';
import { DepartedFlows, departureOf, type FinishedFlow, quietMs } from './departed-flows.js';

const { guard: guarded, gate, ended, resetOnFin, mayReset, finishes } = guardFlags;
const flowOf = (port: number): Flow => ({
  client: { address: '192.0.2.1', port },
  vip: { address: '192.0.2.100', port: 7000 },
});

function entry(port: number, over: Partial<GuardedFlow>): GuardedFlow {
  const numbers = { lease: 5, committed: 1, sentEnd: 1, withheldAck: 0, windowScale: 7, birth: 0 };
  const counts = { withheldSinceNs: 0n, withheld: 0n, emitted: 0n, rewritten: 0n, dropped: 0n };
  return {
    flow: flowOf(port),
    flags: resetOnFin,
    epoch: 1,
    finSeq: undefined,
    ...numbers,
    ...counts,
    ...over,
  };
}

/** A guard that is a list, an access point that is another, and a clock that is a number. */
function createWorld(entries: GuardedFlow[]) {
  const world = { entries, nowMs: 0, isReachable: true, isGone: true, told: [] as FinishedFlow[] };
  const departed = new DepartedFlows({
    guard: {
      list: () => world.entries,
      remove(flow, epoch) {
        world.entries = world.entries.filter((e) => e.flow !== flow || e.epoch !== epoch);
        return 'ok';
      },
    },
    isGone: () => world.isGone,
    nowMs: () => world.nowMs,
    tell(flows) {
      if (world.isReachable) world.told.push(...flows);
      return world.isReachable;
    },
    onDestroyed: () => undefined,
    logger: silentLogger,
  });
  return { world, departed };
}

describe('what is done with the socket of an ended process', () => {
  it.each([
    ['never accepted, level none', 0, resetOnFin, 'leave'],
    ['never accepted, level commit', 0, guarded | gate, 'leave'],
    ['level commit', 1, guarded | gate, 'destroy'],
    ['level commit, ended', 1, guarded | gate | ended, 'destroy'],
    ['level periodic', 1, guarded, 'destroy'],
    ['level periodic, reset by its application', 1, guarded | mayReset, 'destroy'],
    ['level periodic, ended', 1, guarded | ended | finishes, 'finish'],
    ['level periodic, ended when its lease had run out', 1, guarded | ended, 'destroy'],
    ['level none', 1, resetOnFin, 'destroy'],
    ['level none, ended', 1, resetOnFin | ended | finishes, 'finish'],
  ] as const)('%s', (_what, epoch, flags, expected) => {
    expect(departureOf({ epoch, flags })).toBe(expected);
  });
});

describe('entries of ended processes', () => {
  it('stay until nothing was kept back for a minute', () => {
    const { world, departed } = createWorld([entry(1, {}), entry(2, { epoch: 0 })]);
    departed.look();
    world.nowMs = quietMs - 1;
    departed.look();
    expect(world.entries).toHaveLength(2);
    world.entries = world.entries.map((e) => (e.flow.client.port === 1 ? { ...e, dropped: 9n } : e));
    world.nowMs = quietMs;
    departed.look();
    expect(world.entries.map((e) => e.flow.client.port)).toEqual([1]);
    world.nowMs = 2 * quietMs;
    departed.look();
    expect(world.entries).toEqual([]);
    expect(world.told).toEqual([]);
  });

  it('start their minute anew when their owner turns out to live', () => {
    const { world, departed } = createWorld([entry(1, {})]);
    departed.look();
    world.isGone = false;
    departed.look();
    world.isGone = true;
    world.nowMs = quietMs;
    departed.look();
    expect(world.entries).toHaveLength(1);
  });

  it('of finished connections go once that was told, and not before', () => {
    const { world, departed } = createWorld([
      entry(1, { flags: resetOnFin | ended | finishes, finSeq: 9, epoch: 3 }),
    ]);
    world.isReachable = false;
    departed.look();
    expect([world.entries.length, departed.unfinished]).toEqual([1, 1]);
    world.isReachable = true;
    departed.look();
    expect(world.told).toEqual([{ flow: flowOf(1), epoch: 3 }]);
    expect([world.entries.length, departed.unfinished]).toEqual([0, 0]);
  });
});
