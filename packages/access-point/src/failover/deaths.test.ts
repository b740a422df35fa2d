/** An endpoint's process or host dies: what becomes of everything it had, message by message. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatFlow } from '@restitch/core';
import { afterAll, describe, expect, it } from 'vitest';
import { ProtectedWorld, flowOfPort } from '../testing/protected-world.js';
import { testConfig } from '../testing/test-config.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-deaths-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const config = testConfig(
  directory,
  'rebuildGrace: 1s\nhealth: {heartbeat: 200ms, suspectAfter: 400ms, deadAfter: 5s}\nflows: {idleAfter: 60s, sweepInterval: 1s}',
);
/** Three heartbeats. */
const detectionMs = 600;

async function openWorld(agents = ['a', 'b', 'c']): Promise<ProtectedWorld> {
  const world = new ProtectedWorld(config, ['a', 'b', 'c']);
  for (const name of agents) world.startAgent(name);
  await world.run(1000);
  return world;
}

const text = (port: number): string => formatFlow(flowOfPort(port));
const lost = (world: ProtectedWorld): number => world.counters.get('protection_sessions_lost_total');
const outcomes = (world: ProtectedWorld): string[] =>
  world.core.state.takeOverHistory.all().map((t) => `${t.sessionId} ${t.outcome}`);

describe('a session whose opening was not told before the process died', () => {
  it('is taken over like the others', async () => {
    const world = await openWorld();
    world.open('s1', 'a', 10_001);
    world.openUntold('s2', 'a', 10_002);
    await world.run(200);
    world.kill('a', false);
    await world.run(500);
    expect(world.recordOf(10_002)?.name).not.toBe('a');
    expect(world.core.state.sessions.byId('s2')?.isOrphan).toBe(false);
    expect(world.emitters('s2')).toHaveLength(1);
    expect(world.counters.get('protection_sessions_untold_total')).toBe(1);
    expect(world.core.state.protection.records[0]).toMatchObject({ taken: 2, lost: 0, bare: 0 });
    expect(world.dataplane.resets).toEqual([]);
  });

  it('is taken over when it is the only one, and when the next process is there already', async () => {
    const world = await openWorld([]);
    world.openUntold('s2', 'a', 10_002);
    world.kill('a', true);
    await world.run(1500);
    expect(world.recordOf(10_002)).toMatchObject({ phase: 'active', epoch: 1 });
    expect(world.emitters('s2')).toHaveLength(1);
    expect(lost(world)).toBe(0);
  });

  it('is left alone if its record has ended', async () => {
    const world = await openWorld();
    const flow = world.openUntold('s2', 'a', 10_002);
    world.dataplane.apply([{ op: 'close', flow, epoch: 0, lingerMs: 1000 }]);
    world.kill('a', false);
    await world.run(500);
    expect(world.core.state.sessions.byId('s2')).toBeUndefined();
    expect(world.dataplane.resets).toEqual([]);
  });
});

describe('a client that has sent a reset which its endpoint did not live to answer', () => {
  it('is asked by the buddy before it is served', async () => {
    const world = await openWorld();
    world.open('s1', 'a', 10_001);
    world.open('s2', 'a', 10_002);
    await world.run(200);
    world.dataplane.packet(flowOfPort(10_001), true);
    world.kill('a', false);
    await world.run(500);
    const doubted = [...world.processes.values()].flatMap((process) => [...process.doubted]);
    expect(doubted).toEqual(['s1']);
    expect(world.core.state.protection.records[0]).toMatchObject({ taken: 2, lost: 0 });
  });
});

describe('a session whose flow is another connection by now', () => {
  it('has ended, and that connection is left alone', async () => {
    const world = await openWorld();
    world.open('s1', 'a', 10_001);
    await world.run(200);
    const flow = flowOfPort(10_001);
    world.dataplane.apply([
      { op: 'close', flow, epoch: 0, lingerMs: 0 },
      { op: 'remove', flow, epoch: 0 },
      { op: 'claim', flow, endpointId: 2, epoch: 1 },
    ]);
    world.process('b').acceptQueue.add(formatFlow(flow));
    world.kill('a', false);
    await world.run(500);
    expect(outcomes(world)).toEqual(['s1 ended']);
    expect(world.recordOf(10_001)).toMatchObject({ name: 'b', phase: 'active', epoch: 1 });
    expect(world.dataplane.resets).toEqual([]);
  });
});

describe('connections that no application had accepted', () => {
  const ports = Array.from({ length: 45 }, (_, i) => 20_000 + i);

  it.each<[string, string[]]>([
    ['its agent tells of the death', ['a', 'b', 'c']],
    ['only silence tells of it', []],
  ])('are reset within detection and a second when %s', async (_what, agents) => {
    const world = await openWorld(agents);
    world.open('s1', 'a', 10_001);
    for (const port of ports) world.accept('a', port);
    world.accept('b', 30_000);
    world.kill('a', false);
    await world.run(agents.length > 0 ? 200 : detectionMs + 1000);
    expect([...world.dataplane.resets].sort()).toEqual(ports.map(text).sort());
    expect(ports.map((port) => world.recordOf(port)?.phase)).toEqual(ports.map(() => 'closing'));
    expect(world.recordOf(30_000)?.phase).toBe('active');
    expect(world.emitters('s1')).toHaveLength(1);
    expect(world.core.state.protection.records[0]).toMatchObject({ taken: 1, lost: 0, bare: 45 });
    expect(lost(world)).toBe(0);
  });

  it('are told from sessions that nobody has, which are reset, too', async () => {
    const world = await openWorld();
    for (let i = 0; i < 300; i++) world.open(`s${i}`, 'a', 10_000 + i);
    for (const port of ports) world.accept('a', port);
    await world.run(200);
    for (const process of world.processes.values()) process.replicas.clear();
    world.kill('a', false);
    await world.run(1000);
    expect(world.core.state.protection.records[0]).toMatchObject({ taken: 0, lost: 300, bare: 45 });
    expect(world.dataplane.resets).toHaveLength(345);
    expect(new Set(world.dataplane.resets).size).toBe(345);
    expect(lost(world)).toBe(300);
  });

  it('are spared where the next process says that its kernel has them', async () => {
    const world = await openWorld();
    const flow = world.accept('a', 20_000);
    world.accept('a', 20_001);
    world.kernel('a').set(formatFlow(flow), { flow, epoch: 0 });
    world.kill('a', true);
    await world.run(500);
    expect(world.dataplane.resets).toEqual([text(20_001)]);
    expect(world.counters.get('protection_bare_flows_spared_total')).toBe(1);
  });

  it('of the next process are none of them', async () => {
    const world = await openWorld([]);
    world.accept('a', 20_000);
    world.kill('a', true);
    await world.run(60);
    // Its predecessor's lease is running yet.
    world.accept('a', 20_001);
    await world.run(1500);
    expect(world.dataplane.resets).toEqual([text(20_000)]);
  });

  it.each([
    ['while another takes its place', true],
    ['for good', false],
  ])(
    'are reset when their process ended with the daemon, %s, though their clients go on sending',
    async (_when, isRestarted) => {
      const world = await openWorld();
      world.open('s1', 'b', 10_001);
      const flow = world.accept('a', 20_000);
      const served = world.accept('b', 20_001);
      await world.restartDaemon(false);
      world.kill('a', isRestarted);
      for (let i = 0; i < 15; i++) {
        await world.run(200);
        world.dataplane.packet(flow);
        world.dataplane.packet(served);
      }
      expect(world.dataplane.resets).toEqual([text(20_000)]);
    },
  );

  it('are asked for again, and not reset, while the next process does not answer', async () => {
    const world = await openWorld();
    world.accept('a', 20_000);
    world.kill('a', true);
    world.process('a').isDeaf = true;
    await world.run(10_000);
    expect(world.dataplane.resets).toEqual([]);
  });
});

describe('a handshake that was not over', () => {
  it('goes to another endpoint once its own is dead, and stays while it is only suspect', async () => {
    const world = await openWorld([]);
    const flow = flowOfPort(40_000);
    expect(world.dataplane.syn(flow)).toBe(1);
    world.kill('a', false);
    await world.run(320);
    expect(world.dataplane.syn(flow)).toBe(1);
    await world.run(800);
    expect(world.dataplane.syn(flow)).not.toBe(1);
    expect(world.counters.get('half_open_forgotten_total')).toBe(1);
  });

  it('goes to another when its process is stopped for good, though it is connected', async () => {
    const world = await openWorld();
    const flow = flowOfPort(40_000);
    expect(world.dataplane.syn(flow)).toBe(1);
    world.process('a').isStopped = true;
    await world.run(3000);
    expect(world.core.state.endpoints.require('a').link).toBeDefined();
    expect(world.dataplane.services[0]?.backends.map((b) => b.endpointId)).toEqual([2, 3]);
    expect(world.dataplane.syn(flow)).not.toBe(1);
  });

  it('finds no service that names the dead one, though health has not noticed yet', async () => {
    const patient = testConfig(
      directory,
      'rebuildGrace: 1s\nhealth: {heartbeat: 200ms, suspectAfter: 60s, deadAfter: 90s}',
    );
    const world = new ProtectedWorld(patient, ['a', 'b', 'c']);
    await world.run(1000);
    world.process('a').isStopped = true;
    await world.run(1500);
    expect(world.core.state.endpoints.require('a').liveness).toBe('healthy');
    expect(world.dataplane.services[0]?.backends.map((b) => b.endpointId)).toEqual([2, 3]);
  });

  it('stays when the endpoint is drained, or back as another process', async () => {
    const world = await openWorld();
    const flow = flowOfPort(40_000);
    expect(world.dataplane.syn(flow)).toBe(1);
    const { drains, endpoints } = world.core.state;
    drains.start(endpoints.require('a'), 60_000, 'wait');
    await world.run(500);
    expect(world.dataplane.syn(flow)).toBe(1);
    drains.stop(endpoints.require('a'));
    world.stopAgent('a');
    world.kill('a', true);
    await world.run(1500);
    expect(world.dataplane.syn(flow)).toBe(1);
  });

  it('goes to another after a start of the daemon, if its endpoint does not come', async () => {
    const world = await openWorld();
    const flow = flowOfPort(40_000);
    expect(world.dataplane.syn(flow)).toBe(1);
    world.cutOff('a');
    await world.restartDaemon(false);
    expect(world.dataplane.syn(flow)).toBe(1);
    await world.run(2500);
    expect(world.dataplane.syn(flow)).not.toBe(1);
  });
});

describe('a closing session that a buddy finishes', () => {
  it('is taken over like any other', async () => {
    const world = await openWorld();
    world.open('s1', 'a', 10_001);
    world.close('s1', 'a', 'successor');
    await world.run(200);
    expect(world.core.state.sessions.byId('s1')?.closing).toEqual({ tailBytes: 1000, finisher: 'successor' });
    world.kill('a', false);
    await world.run(500);
    expect(world.emitters('s1')).toHaveLength(1);
    expect(outcomes(world)).toEqual(['s1 taken']);
  });

  it.each(['gone', 'unanswered', 'reset'] as const)(
    'and whose replica is lost has ended, unless its client still believed in it: %s',
    async (answer) => {
      const world = await openWorld();
      world.dataplane.answerOfClient = () => answer;
      world.open('s1', 'a', 10_001);
      world.close('s1', 'a', 'successor');
      await world.run(200);
      for (const process of world.processes.values()) process.replicas.clear();
      world.kill('a', false);
      await world.run(500);
      const loss = answer === 'reset' ? 'lost' : 'ended';
      expect(outcomes(world)).toEqual([`s1 ${loss}`]);
      expect(world.counters.get(`protection_sessions_${loss}_total`)).toBe(1);
      expect(world.core.state.protection.records[0]).toMatchObject({ [loss]: 1, taken: 0 });
    },
  );

  it('differs there from an open one, of which a silent client is no proof', async () => {
    const world = await openWorld();
    world.dataplane.answerOfClient = () => 'unanswered';
    world.open('s1', 'a', 10_001);
    await world.run(200);
    for (const process of world.processes.values()) process.replicas.clear();
    world.kill('a', false);
    await world.run(500);
    expect(outcomes(world)).toEqual(['s1 lost']);
  });
});

it('a process that had said it would leave is no crash; what it left is given away all the same', async () => {
  const world = await openWorld();
  world.open('s1', 'a', 10_001);
  await world.run(200);
  world.kill('a', false, { isLeaving: true });
  await world.run(500);
  expect(world.emitters('s1')).toHaveLength(1);
  expect(world.counters.get('protection_leaves_total')).toBe(1);
  expect(world.counters.get('protection_take_overs_total')).toBe(0);
  expect(world.core.state.protection.records[0]).toMatchObject({ isLeaving: true, taken: 1 });
});
