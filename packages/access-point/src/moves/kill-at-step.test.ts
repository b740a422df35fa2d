/** Every step of a move × every party that can die there, against the daemon's core with endpoints in memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { lifeCycle } from '../model/life-cycle.js';
import type { MoveState } from '../model/life-cycle.js';
import { testConfig } from '../testing/test-config.js';
import { World } from '../testing/world.js';

const directory = mkdtempSync(join(tmpdir(), 'restitch-steps-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** States the normal way goes through; the others come up on the way out of these. */
const way = [
  'preparing',
  'waiting',
  'holding',
  'freezing',
  'frozen',
  'switching',
  'activating',
  'confirming',
  'releasing',
  'committed',
] as const satisfies readonly MoveState[];

type Blow = (world: World) => void | Promise<void>;
const blows: Record<string, Blow> = {
  'the source`s process dies': (world) => world.kill('a'),
  'the target`s process dies': (world) => world.kill('b'),
  'both processes die': (world) => {
    world.kill('a');
    world.kill('b');
  },
  'the daemon dies': (world) => world.restartDaemon(),
  'the source`s connection is cut': (world) => world.cut('a'),
  'the target`s connection is cut': (world) => world.cut('b'),
  'only the source notices the cut': (world) => world.cutThere('a'),
  'only the target notices the cut': (world) => world.cutThere('b'),
  'both connections are cut': (world) => {
    world.cut('a');
    world.cut('b');
  },
  'the daemon and the source die': async (world) => {
    world.kill('a');
    await world.restartDaemon();
  },
  'the daemon and the target die': async (world) => {
    world.kill('b');
    await world.restartDaemon();
  },
};

/** How the session stands that is moved. */
const kinds = ['live', 'successor', 'kernel'] as const;

/** Brings a move from a to b to the door of `state`, everything that was sent before delivered. */
async function worldAt(
  state: MoveState,
  kind: (typeof kinds)[number],
): Promise<{ world: World; id: string }> {
  const world = new World(testConfig(directory, 'rebuildGrace: 3s'), ['a', 'b', 'c']);
  for (const name of ['a', 'b', 'c']) world.connect(name);
  await world.settle();
  const id = world.open('a');
  await world.settle();
  if (kind !== 'live') world.endpoint('a').close(id, 1000, kind);
  await world.settle();
  const { coordinator } = world.core.state;
  coordinator.pauseAt(state);
  coordinator.request({ sessionId: id, target: 'b', origin: 'manual' }, () => undefined);
  await world.settle();
  return { world, id };
}

const cases = kinds.flatMap((kind) => way.map((state) => [kind, state] as const));

describe.each(cases)('%s, before %s', (kind, state) => {
  it('the move stands at this door', async () => {
    const { world } = await worldAt(state, kind);
    expect(world.core.state.coordinator.running().map((m) => m.isPaused)).toEqual([true]);
  });

  it.each(Object.keys(blows))(
    '%s: one owner afterwards, and a session is lost only with its last copy',
    async (what) => {
      const { world, id } = await worldAt(state, kind);
      const before = world.copiesOf(id);
      await blows[what]?.(world);
      world.core.state.coordinator.resume();
      await world.rest();
      const copies = world.copiesOf(id);
      const record = world.recordOf(id);
      const story = `${JSON.stringify(before)} → ${JSON.stringify(copies)}, record ${JSON.stringify(record)}`;
      expect(copies.length, story).toBeLessThanOrEqual(1);
      expect(copies.length, story).toBe(mustLive(what, before, state) ? 1 : 0);
      for (const copy of copies) {
        expect(copy.phase, story).toBe('live');
        expect(record, story).toEqual({ name: copy.name, epoch: copy.epoch, phase: 'active' });
      }
      if (kind !== 'live') assertTail(world, id, story);
      const { coordinator, reconciler } = world.core.state;
      expect(coordinator.running().map((m) => `${m.id} ${m.state}`)).toEqual([]);
      expect(reconciler.waiting).toBe(0);
      expect(world.counters.entries().filter(([key]) => key.startsWith('move_impossible_'))).toEqual([]);
    },
  );
});

/** A tail is known as one wherever it is; what no process has is a kernel's, or nobody's and forgotten. */
function assertTail(world: World, id: string, story: string): void {
  const session = world.core.state.sessions.byId(id);
  const [copy] = world.copiesOf(id);
  if (copy !== undefined) expect(session?.closing, story).toMatchObject({ tailBytes: 1000 });
  else if (session !== undefined) {
    expect(session.isFinishing, story).toBe(true);
    expect(world.kernel(session.owner.name).size, story).toBe(1);
  }
}

/** docs/architecture.md, "Who dies, and what then". */
function mustLive(what: string, before: ReturnType<World['copiesOf']>, state: MoveState): boolean {
  const isSourceDead = what.includes('source') && what.includes('die') ? true : what.startsWith('both proc');
  const isTargetDead = what.includes('target') && what.includes('die') ? true : what.startsWith('both proc');
  const isSwitched = (['activating', 'confirming', 'releasing', 'committed'] as MoveState[]).includes(state);
  const hasTargetCopy = before.some((c) => c.name === 'b');
  if (isTargetDead && isSwitched) return false;
  if (isSourceDead) return hasTargetCopy && !isTargetDead;
  return true;
}

it('covers every state of the life cycle that has a door on the normal way', () => {
  const doors = Object.keys(lifeCycle).filter((s) => (way as readonly string[]).includes(s));
  expect(doors.length).toBe(way.length - 1);
});
