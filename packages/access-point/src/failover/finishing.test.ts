/** Closing sessions whose process has ended and whose kernel goes on: who sees it, and what ends them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatFlow } from '@restitch/core';
import { afterAll, describe, expect, it } from 'vitest';
import { ProtectedWorld, flowOfPort } from '../testing/protected-world.js';
import { testConfig } from '../testing/test-config.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-finishing-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const config = testConfig(
  directory,
  'rebuildGrace: 1s\nhealth: {heartbeat: 200ms, suspectAfter: 400ms, deadAfter: 5s}\nflows: {idleAfter: 20s, sweepInterval: 1s}',
);
const port = 10_001;

/** A session at a that its kernel finishes, and one beside it that a buddy goes on with. */
async function openWorld(agents = ['a', 'b', 'c']): Promise<ProtectedWorld> {
  const world = new ProtectedWorld(config, ['a', 'b', 'c']);
  for (const name of agents) world.startAgent(name);
  await world.run(1000);
  world.open('s1', 'a', port);
  world.open('s2', 'a', 10_002);
  await world.run(200);
  world.close('s1', 'a', 'kernel');
  await world.run(200);
  return world;
}

const session = (world: ProtectedWorld): ReturnType<ProtectedWorld['core']['state']['sessions']['byId']> =>
  world.core.state.sessions.byId('s1');
const outcomes = (world: ProtectedWorld): string[] =>
  world.core.state.takeOverHistory.ofSession('s1').map((t) => t.outcome);

function expectFinishing(world: ProtectedWorld): void {
  const found = session(world);
  expect({ owner: found?.owner.name, isFinishing: found?.isFinishing, isOrphan: found?.isOrphan }).toEqual({
    owner: 'a',
    isFinishing: true,
    isOrphan: undefined,
  });
  expect(world.recordOf(port)).toEqual({ name: 'a', epoch: 0, phase: 'active' });
}

describe('while the host`s agent is heard', () => {
  it('record and session stay, the rest is given away, and the agent`s word ends it', async () => {
    const world = await openWorld();
    world.kill('a', false);
    await world.run(500);
    expectFinishing(world);
    expect(world.emitters('s2')).toHaveLength(1);
    const [record] = world.core.state.protection.records;
    expect(record).toMatchObject({ taken: 1, lost: 0, finishing: 1 });
    // Longer than it takes to declare the endpoint down, and to call a flow idle.
    await world.run(60_000);
    expectFinishing(world);
    world.finish('a');
    await world.run(100);
    expect(session(world)).toBeUndefined();
    expect(world.recordOf(port)?.phase).toBe('closing');
    expect(outcomes(world)).toEqual(['finishing']);
    expect(world.counters.get('protection_sessions_finished_total')).toBe(1);
    expect(world.dataplane.resets).toEqual([]);
  });

  it('its packets are not held while its endpoint is only suspect', async () => {
    const world = await openWorld();
    world.cutOff('a');
    await world.run(100);
    expect(world.recordOf(10_002)?.phase).toBe('hold');
    expect(world.recordOf(port)?.phase).toBe('active');
  });

  it('the next process of that name, which announces nothing, changes nothing', async () => {
    const world = await openWorld();
    world.kill('a', true);
    await world.run(2000);
    expect(world.core.state.endpoints.require('a').liveness).toBe('healthy');
    expectFinishing(world);
    world.finish('a');
    await world.run(100);
    expect(session(world)).toBeUndefined();
  });

  it('a process that is only stopped is the same: its kernel lives', async () => {
    const world = await openWorld();
    world.process('a').isStopped = true;
    await world.run(4000);
    expectFinishing(world);
    expect(world.emitters('s2')).toHaveLength(1);
    expect(world.core.state.protection.records[0]).toMatchObject({ reason: 'stopped', finishing: 1 });
  });

  it('a process that was only stopped and lives on is asked, whom its host`s agent does not look after', async () => {
    const world = await openWorld();
    world.process('a').isStopped = true;
    await world.run(4000);
    // Fenced, it has let go of everything, and is another instance.
    world.kill('a', true);
    await world.run(1000);
    expectFinishing(world);
    world.kernel('a').clear();
    await world.run(6000);
    expect(session(world)).toBeUndefined();
    expect(world.recordOf(port)?.phase).toBe('closing');
    expect(world.dataplane.resets).toEqual([]);
  });

  it('the death of the next process as well changes nothing', async () => {
    const world = await openWorld();
    world.kill('a', true);
    await world.run(2000);
    world.kill('a', false);
    await world.run(2000);
    expectFinishing(world);
  });

  it('it is not moved, by nobody', async () => {
    const world = await openWorld();
    world.kill('a', true);
    await world.run(1000);
    await expect(
      world.core.state.coordinator.migrate({ sessionId: 's1', origin: 'manual' }),
    ).rejects.toMatchObject({ code: 'peer_lost' });
    const { drains, endpoints } = world.core.state;
    drains.start(endpoints.require('a'), 60_000, 'wait');
    await world.run(1000);
    expect(drains.progressOf('a')).toMatchObject({
      state: 'draining',
      left: 1,
      stuck: [{ code: 'finishing', sessions: 1 }],
    });
  });

  it('the end of a session which is served as far as is known is believed once its process is dead', async () => {
    const world = await openWorld();
    // It stands still: its lease has ended, and its host sees before the access point does that nobody holds the socket.
    world.process('a').isStopped = true;
    await world.run(300);
    world.agentSays('a', { t: 'finished', flows: [{ flow: flowOfPort(port), epoch: 0 }] });
    await world.run(100);
    expect(session(world)).toBeDefined();
    expect(world.counters.get('protection_finished_unexpected_total')).toBe(1);
    await world.run(4000);
    expect(world.core.state.protection.records[0]).toMatchObject({ reason: 'stopped', finishing: 1 });
    expect(session(world)).toBeUndefined();
    expect(world.recordOf(port)?.phase).toBe('closing');
    expect(world.dataplane.resets).toEqual([]);
  });

  it('an older epoch`s end is passed over', async () => {
    const world = await openWorld();
    world.agentSays('a', { t: 'finished', flows: [{ flow: flowOfPort(port), epoch: 3 }] });
    await world.run(100);
    expect(world.counters.get('protection_finished_stale_total')).toBe(1);
    world.kill('a', false);
    await world.run(100);
    world.agentSays('a', { t: 'finished', flows: [{ flow: flowOfPort(port), epoch: 7 }] });
    await world.run(100);
    expectFinishing(world);
    expect(world.counters.get('protection_finished_stale_total')).toBe(2);
  });

  it('only the agent of that endpoint may say so', async () => {
    const world = await openWorld();
    world.kill('a', false);
    await world.run(100);
    world.agentSays('b', { t: 'finished', flows: [{ flow: flowOfPort(port), epoch: 0 }] });
    await world.run(100);
    expect(world.isAgentConnected('b')).toBe(false);
    expectFinishing(world);
  });

  it('an endpoint may not, of its own accord', async () => {
    const world = await openWorld();
    world.kill('a', false);
    await world.run(100);
    world.says('b', { t: 'finished', flows: [{ flow: flowOfPort(port), epoch: 0 }] });
    await world.run(100);
    expectFinishing(world);
  });

  it('its client`s next connection from the same port takes its place', async () => {
    const world = await openWorld();
    world.kill('a', true);
    await world.run(500);
    world.open('s9', 'a', port);
    await world.run(200);
    expect(session(world)).toBeUndefined();
    expect(world.core.state.sessions.byId('s9')?.isFinishing).toBeUndefined();
    world.finish('a');
    await world.run(200);
    expect(world.core.state.sessions.byId('s9')).toBeDefined();
    expect(world.recordOf(port)?.phase).toBe('active');
  });
});

describe('when nobody sees the kernel any more', () => {
  it('a lost agent is waited for, and the client told after that', async () => {
    const world = await openWorld();
    world.kill('a', false);
    await world.run(500);
    world.stopAgent('a');
    await world.run(500);
    expectFinishing(world);
    await world.run(1000);
    expect(world.dataplane.resets).toEqual([formatFlow(flowOfPort(port))]);
    expect(session(world)).toBeUndefined();
    expect(outcomes(world)).toEqual(['finishing', 'lost']);
  });

  it('an agent that is back in time goes on seeing it', async () => {
    const world = await openWorld();
    world.kill('a', false);
    await world.run(500);
    world.stopAgent('a');
    await world.run(500);
    world.startAgent('a');
    await world.run(3000);
    expectFinishing(world);
  });

  it('a client that is through has been served', async () => {
    const world = await openWorld();
    world.dataplane.answerOfClient = () => 'unanswered';
    world.kill('a', false);
    await world.run(500);
    world.stopAgent('a');
    await world.run(2000);
    expect(outcomes(world)).toEqual(['finishing', 'ended']);
    expect(world.counters.get('protection_sessions_lost_total')).toBe(0);
  });

  it('a dead host`s is told at once', async () => {
    const world = await openWorld();
    world.killHost('a');
    await world.run(1000);
    expect(world.dataplane.resets).toEqual([formatFlow(flowOfPort(port))]);
    expect(outcomes(world)).toEqual(['lost']);
    expect(world.emitters('s2')).toHaveLength(1);
    expect(world.core.state.protection.records[0]).toMatchObject({ taken: 1, lost: 1, finishing: 0 });
  });
});

it('an older replica of it is not gone on with: the kernel may have said more', async () => {
  const world = await openWorld();
  const replica = { owner: 'a', instance: world.process('a').instance, flow: flowOfPort(port), epoch: 0 };
  world.process('b').replicas.set('s1', replica);
  world.killHost('a');
  await world.run(1000);
  expect(world.emitters('s1')).toEqual([]);
  expect(world.dataplane.resets).toEqual([formatFlow(flowOfPort(port))]);
});

describe('without an agent', () => {
  it('the next process is asked until its kernel is done', async () => {
    const world = await openWorld([]);
    world.kill('a', true);
    await world.run(3000);
    expectFinishing(world);
    world.kernel('a').clear();
    await world.run(6000);
    expect(session(world)).toBeUndefined();
    expect(world.recordOf(port)?.phase).toBe('closing');
    expect(world.dataplane.resets).toEqual([]);
  });

  it('and nobody is left to ask when that one goes, too', async () => {
    const world = await openWorld([]);
    world.kill('a', true);
    await world.run(3000);
    world.kill('a', false);
    await world.run(3000);
    expect(world.dataplane.resets).toEqual([formatFlow(flowOfPort(port))]);
    expect(session(world)).toBeUndefined();
  });
});

describe('the daemon is restarted meanwhile', () => {
  it.each([true, false])(
    'the record stays until the agent`s word (next process there: %s)',
    async (isThere) => {
      const world = await openWorld();
      world.kill('a', isThere);
      await world.run(500);
      await world.restartDaemon(false);
      await world.run(4000);
      expect(world.recordOf(port)).toEqual({ name: 'a', epoch: 0, phase: 'active' });
      expect(world.dataplane.resets).toEqual([]);
      world.finish('a');
      await world.run(200);
      expect(world.recordOf(port)?.phase).toBe('closing');
      expect(world.counters.get('protection_finished_forgotten_total')).toBe(1);
    },
  );

  it('what it held for the suspect goes to the kernel that still has it', async () => {
    const world = await openWorld();
    // Held while its endpoint was suspect; its process died, and the daemon, before anybody was told.
    const deadlineNs = world.clock.monotonicNs() + 20_000_000_000n;
    world.dataplane.apply([{ op: 'hold', flow: flowOfPort(port), epoch: 0, deadlineNs }]);
    world.kill('a', true);
    await world.restartDaemon(false);
    // Its client sends, and is not heard.
    for (const record of world.dataplane.records.values()) record.lastSeenNs = world.clock.monotonicNs() * 2n;
    expect(world.recordOf(port)?.phase).toBe('hold');
    await world.run(4000);
    expect(world.recordOf(port)).toEqual({ name: 'a', epoch: 0, phase: 'active' });
    expect(world.dataplane.resets).toEqual([]);
  });

  it('another host`s agent cannot close it', async () => {
    const world = await openWorld();
    world.kill('a', false);
    await world.run(500);
    await world.restartDaemon(false);
    await world.run(2000);
    world.agentSays('b', { t: 'finished', flows: [{ flow: flowOfPort(port), epoch: 0 }] });
    await world.run(200);
    expect(world.recordOf(port)?.phase).toBe('active');
  });
});
