/** A real move that stands still at the door of a step: what comes before is done, the step's own messages are not sent. */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openAdminClient } from '@restitch/access-point';
import type { MoveStep } from '@restitch/wire/internal';
import type { MoveAnswer, StoryAnswer } from '@restitch/wire';
import type { LabAdmin } from '../../packages/lab/src/lab/lab-admin.js';
import { adminSocketOf } from '../../packages/lab/src/lab/lab-config.js';
import type { Lab } from '../../packages/lab/src/lab/lab.js';

const settleMs = 60_000;

/** A machine that runs other tests too may need more than 50 ms; it is not the time that is tested here. */
export async function widenBudget(lab: Lab): Promise<void> {
  const file = `${lab.plan.directory}/access-point.yaml`;
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace('moves:\n', 'moves:\n  budget: 5s\n'));
  const admin = await openAdminClient(adminSocketOf(lab.plan));
  await admin.call({ cmd: 'reload' });
  admin.close();
}

/** The daemon has seen that the endpoint's process is gone. */
export async function noticed(admin: LabAdmin, name: string): Promise<void> {
  for (;;) {
    const endpoint = (await admin.endpoints()).find((e) => e.name === name);
    if (endpoint?.liveness !== 'healthy') return;
    await sleep(5);
  }
}

/** Starts the move and waits until it stands at the step; resolves to a promise of its record. */
export async function pauseMove(
  admin: LabAdmin,
  what: { step: MoveStep; sessionId: string; target: string },
): Promise<{ ended: Promise<MoveAnswer | undefined> }> {
  await admin.pause(what.step);
  let early = '';
  const ended = admin.migrate(what.sessionId, what.target).then(
    (record) => {
      early = JSON.stringify(record);
      return record;
    },
    (error: unknown) => {
      early = String(error);
      return undefined;
    },
  );
  for (let i = 0; i < 1000 && early === ''; i++) {
    const { moves } = (await admin.status()) as unknown as { moves: { paused: number } };
    if (moves.paused === 1) {
      // What was sent before the door has arrived: an image that is under way is at the target.
      await sleep(100);
      return { ended };
    }
    await sleep(10);
  }
  throw new Error(`the move does not come to ${what.step}: ${early || 'it waits'}`);
}

/** The session's story once nothing is under way and nothing in doubt any more. */
export async function settled(admin: LabAdmin, id: string): Promise<StoryAnswer> {
  const endMs = performance.now() + settleMs;
  for (;;) {
    const status = await admin.status();
    const story = await admin
      .story(id)
      .catch((): StoryAnswer => ({ session: null, record: null, moves: [], takeOvers: [] }));
    const isBusy = story.session !== null && (story.session.move !== null || story.session.doubt !== null);
    const isActive = story.session === null || story.record?.phase === 'active';
    if (status.moves.running === 0 && status.doubts === 0 && !isBusy && isActive) return story;
    if (performance.now() > endMs) throw new Error(`not settled: ${JSON.stringify(story)}`);
    await sleep(20);
  }
}
