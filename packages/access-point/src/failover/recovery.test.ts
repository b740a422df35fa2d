/** The daemon dies at each step of the crash branch: the sessions it had not given away are found and taken over. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { judgeReplica } from './recovery.js';
import type { RecoveryVerdict, ReplicaCircumstances } from './recovery.js';
import { ProtectedWorld } from '../testing/protected-world.js';
import { testConfig } from '../testing/test-config.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-recovery-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const config = testConfig(
  directory,
  'rebuildGrace: 1s\nhealth: {heartbeat: 200ms, suspectAfter: 400ms, deadAfter: 5s}',
);
const sessions = new Map([
  ['s1', 10_001],
  ['s2', 10_002],
  ['s3', 10_003],
]);

type Fault = 'cut off, and back at the end' | 'killed' | 'killed and restarted';
type Blow = 'the daemon dies' | 'the access point`s host reboots' | 'nothing more';

interface Outcome {
  readonly world: ProtectedWorld;
  readonly eventsOfFault: number;
  /** What the records said when the daemon died. */
  readonly records: string;
}

function strike(world: ProtectedWorld, fault: Fault): void {
  if (fault === 'killed') world.kill('a', false);
  else if (fault === 'killed and restarted') world.kill('a', true);
  else world.cutOff('a');
}

/** Sessions on a, then the fault, and `at` events later the blow; to the end of all that follows. */
async function play(fault: Fault, blow: Blow, at: number): Promise<Outcome> {
  const world = new ProtectedWorld(config, ['a', 'b', 'c']);
  await world.run(1000);
  for (const [id, port] of sessions) world.open(id, 'a', port);
  await world.run(200);
  const before = world.events;
  let records = '';
  let eventsOfFault = 0;
  world.onEvent = async () => {
    for (const id of sessions.keys()) {
      const emitters = world.emitters(id);
      expect(emitters.length, `${id} after ${world.events - before} events: ${emitters}`).toBeLessThanOrEqual(
        1,
      );
    }
    const isAllServed = [...sessions.values()].every((port) => {
      const record = world.recordOf(port);
      return record?.name !== 'a' && record?.phase === 'active';
    });
    if (isAllServed && eventsOfFault === 0) eventsOfFault = world.events - before;
    if (world.events - before !== at || blow === 'nothing more') return;
    records = [...sessions.values()].map((p) => JSON.stringify(world.recordOf(p))).join();
    await world.restartDaemon(blow === 'the access point`s host reboots');
  };
  strike(world, fault);
  await world.run(4000);
  if (fault === 'cut off, and back at the end') world.heal('a');
  await world.run(2000);
  return { world, eventsOfFault, records };
}

function assertServed({ world }: Outcome, story: string): void {
  expect(world.counters.get('protection_sessions_lost_total'), story).toBe(0);
  expect(world.dataplane.resets, story).toEqual([]);
  for (const [id, port] of sessions) {
    const holders = [...world.processes.values()].filter((p) => p.copies.has(id));
    expect(
      holders.map((p) => p.name),
      `${id} ${story}`,
    ).toHaveLength(1);
    const [holder] = holders;
    const epoch = holder?.copies.get(id)?.epoch;
    expect(world.recordOf(port), `${id} ${story}`).toEqual({ name: holder?.name, epoch, phase: 'active' });
    const session = world.core.state.sessions.byId(id);
    const known = { owner: session?.owner.name, epoch: session?.epoch, isOrphan: session?.isOrphan ?? false };
    expect(known, `${id} ${story}`).toEqual({ owner: holder?.name, epoch, isOrphan: false });
  }
  expect(
    world.zombies.filter((zombie) => zombie.copies.size > 0),
    story,
  ).toEqual([]);
}

const faults: Fault[] = ['killed', 'killed and restarted', 'cut off, and back at the end'];
const blows: Blow[] = ['the daemon dies', 'the access point`s host reboots'];

describe.each(faults)('an endpoint is %s', (fault) => {
  it('its sessions are taken over', async () => {
    const outcome = await play(fault, 'nothing more', 0);
    assertServed(outcome, fault);
    expect(outcome.eventsOfFault).toBeGreaterThan(10);
  });

  it.each(blows)(
    '%s at each step of that: they are taken over all the same',
    async (blow) => {
      const { eventsOfFault } = await play(fault, 'nothing more', 0);
      const seen = new Set<string>();
      for (let at = 1; at <= eventsOfFault + 2; at++) {
        const outcome = await play(fault, blow, at);
        assertServed(outcome, `${blow} after ${at} of ${eventsOfFault} events, records ${outcome.records}`);
        for (const [step] of outcome.records.matchAll(/"name":"\w"|"phase":"\w+"/g)) seen.add(step);
      }
      // Before the hold, under it, switched and not yet served, served: a test that misses one proves less than it says.
      expect([...seen].sort()).toEqual(
        expect.arrayContaining(['"name":"a"', '"name":"b"', '"phase":"active"', '"phase":"hold"']),
      );
    },
    60_000,
  );
});

it('finds what an endpoint keeps that comes back only after the grace', async () => {
  const world = new ProtectedWorld(config, ['a', 'b', 'c']);
  await world.run(1000);
  for (const [id, port] of sessions) world.open(id, 'a', port);
  await world.run(200);
  const keepers = [...world.processes.values()].filter((p) => p.replicas.size > 0).map((p) => p.name);
  expect(keepers).toEqual(['b', 'c']);
  world.kill('a', false);
  world.cutOff('c');
  await world.restartDaemon(false);
  await world.run(2500);
  expect(world.process('b').copies.size).toBeGreaterThan(0);
  expect(world.process('b').copies.size).toBeLessThan(sessions.size);
  world.heal('c');
  await world.run(2500);
  assertServed({ world, eventsOfFault: 0, records: '' }, 'c came late');
});

it.each([true, false])(
  'waits for an endpoint unless its agent says that its last process has ended: %s',
  async (isLast) => {
    const graceful = testConfig(
      directory,
      'rebuildGrace: 3s\nhealth: {heartbeat: 200ms, suspectAfter: 400ms, deadAfter: 5s}',
    );
    const world = new ProtectedWorld(graceful, ['a', 'b', 'c']);
    for (const name of ['a', 'b', 'c']) world.startAgent(name);
    await world.run(4000);
    for (const [id, port] of sessions) world.open(id, 'a', port);
    await world.run(200);
    const { instance } = world.process('a');
    // The daemon dies with it: what the agent said may not have been heard, and it says so again.
    world.kill('a', false);
    await world.restartDaemon(false);
    world.agentSays('a', { t: 'process-ended', instance, isFenced: true, ...(isLast ? { isLast } : {}) });
    await world.run(1200);
    const served = [...sessions.keys()].filter((id) => world.emitters(id).length === 1);
    expect(served).toHaveLength(isLast ? sessions.size : 0);
    await world.run(4000);
    assertServed({ world, eventsOfFault: 0, records: '' }, 'in the end');
  },
);

it('hears of an end twice, and the process that has taken its place keeps what it has', async () => {
  const world = new ProtectedWorld(config, ['a', 'b', 'c']);
  for (const name of ['a', 'b', 'c']) world.startAgent(name);
  await world.run(1000);
  const { instance } = world.process('a');
  world.kill('a', true);
  await world.run(1500);
  world.open('s7', 'a', 10_007);
  world.close('s7', 'a', 'kernel');
  await world.run(200);
  world.agentSays('a', { t: 'process-ended', instance, isFenced: true, finishing: [] });
  await world.run(200);
  expect(world.core.state.sessions.byId('s7')?.closing).toMatchObject({ finisher: 'kernel' });
});

describe('owner, buddy and daemon die together', () => {
  const flowOf = (port: number): string => `10.0.0.2:${port}`;
  const dieTogether = async (isRestarted: boolean): Promise<ProtectedWorld> => {
    const world = new ProtectedWorld(config, ['a', 'b', 'c']);
    await world.run(1000);
    for (const [id, port] of sessions) world.open(id, 'a', port);
    world.open('s4', 'c', 10_004);
    await world.run(200);
    // s1 and s3 have their replicas on c, s2 on b.
    world.kill('a', isRestarted);
    world.kill('b', isRestarted);
    await world.restartDaemon(false);
    await world.run(4000);
    return world;
  };

  it('resets the clients nobody can serve, and only those', async () => {
    const world = await dieTogether(true);
    expect(world.dataplane.resets).toHaveLength(1);
    expect(world.dataplane.resets[0]).toContain(flowOf(10_002));
    expect(world.counters.get('protection_sessions_lost_total')).toBe(1);
    expect([...world.process('c').copies.keys()].sort()).toEqual(['s1', 's3', 's4']);
  });

  it('resets nobody as long as an endpoint is away, which may have a replica', async () => {
    const world = await dieTogether(false);
    expect(world.dataplane.resets).toEqual([]);
    world.heal('a');
    await world.run(2000);
    expect(world.dataplane.resets).toEqual([]);
    world.heal('b');
    await world.run(2000);
    expect(world.dataplane.resets).toHaveLength(1);
  });
});

describe('one replica', () => {
  const base: ReplicaCircumstances = {
    isServed: false,
    ownerInstance: undefined,
    ownerId: 1,
    buddyId: 2,
    record: { endpointId: 1, epoch: 3, phase: 'hold' },
    areRecordsNew: false,
  };
  it.each<[string, Partial<ReplicaCircumstances>, RecoveryVerdict]>([
    ['of an owner that is not heard', {}, 'give-away'],
    ['of an owner that is back as another process', { ownerInstance: 'a#2' }, 'give-away'],
    ['of a process that lives and has not announced it', { ownerInstance: 'a#1' }, 'leave'],
    ['that somebody serves', { isServed: true }, 'leave'],
    ['whose record was removed', { record: undefined }, 'leave'],
    [
      'whose record was lost with all others',
      { record: undefined, areRecordsNew: true },
      'claim-and-give-away',
    ],
    ['of a session that ended', { record: { endpointId: 1, epoch: 3, phase: 'closing' } }, 'leave'],
    ['that is older than the record', { record: { endpointId: 1, epoch: 4, phase: 'hold' } }, 'leave'],
    ['whose buddy the record names', { record: { endpointId: 2, epoch: 4, phase: 'hold' } }, 'let-serve'],
    ['that was moved to its buddy', { record: { endpointId: 2, epoch: 4, phase: 'active' } }, 'leave'],
    ['that somebody else was given', { record: { endpointId: 5, epoch: 4, phase: 'hold' } }, 'leave'],
  ])('%s', (_what, more, verdict) => {
    expect(judgeReplica({ epoch: 3, instance: 'a#1' }, { ...base, ...more })).toBe(verdict);
  });
});
