/**
 * The same as kill-at-step.test.ts for sessions at level commit: every step of a move × every party that is killed, and
 * the client never notices more than a pause. Move and take-over race for the session; docs/crash.md says who wins.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MoveStep } from '@restitch/wire/internal';
import type { SessionAnswer } from '@restitch/wire';
import { ClientFleet } from '../../packages/lab/src/lab/client-fleet.js';
import { LabAdmin } from '../../packages/lab/src/lab/lab-admin.js';
import type { Lab } from '../../packages/lab/src/lab/lab.js';
import { createClients } from '../../packages/lab/src/lab/lab-move.js';
import { matchSessions } from '../../packages/lab/src/lab/move-load.js';
import { openLab } from '../../packages/lab/src/lab/open-lab.js';
import {
  accessPointName,
  awaitHealthy,
  startAccessPoint,
  startEndpoint,
} from '../../packages/lab/src/lab/start-parties.js';
import { pauseMove, settled, widenBudget } from './paused-move.js';

const steps = [
  'prepare',
  'hold',
  'freeze',
  'thaw',
  'switch',
  'activate',
  'confirm',
  'release',
] as const satisfies readonly MoveStep[];

/** Who is killed, and whether the target is the source's buddy (a buddy that is no party of its own then). */
const cases = [
  ['source', 'another'],
  ['target', 'another'],
  ['buddy', 'another'],
  ['daemon', 'another'],
  ['source', 'the buddy'],
  ['target', 'the buddy'],
  ['daemon', 'the buddy'],
] as const;
type Party = (typeof cases)[number][0];

const names = ['a', 'b', 'c', 'd'];
let lab: Lab;

beforeAll(async () => {
  lab = await openLab(
    {
      endpoints: names.length,
      ipv6: false,
      rttMs: 0,
      lossRatio: 0,
      isKept: false,
      isProtected: true,
    },
    (text) => process.stderr.write(`${text}\n`),
  );
  await widenBudget(lab);
}, 90_000);

afterAll(async () => {
  await lab?.down();
}, 30_000);

describe.each(steps)('a move of a protected session that stands before %s', (step) => {
  it.each(cases)(
    'the %s is killed, the target is %s',
    async (party, kind) => {
      const fleet = await ClientFleet.start(lab, `clients-${step}-${party}-${kind.length}`);
      let admin = await LabAdmin.open(lab.plan);
      try {
        const opened = await fleet.open(createClients(lab, { sessions: 1, payload: 64, rate: 100 }));
        const [first] = [...(await matchSessions(admin, opened)).values()];
        if (first === undefined) throw new Error('no session');
        const session = await replicated(admin, first.id);
        const target = kind === 'the buddy' ? session.buddy : thirdParty(session);
        await pauseMove(admin, { step, sessionId: session.id, target: target ?? '' });
        await lab.stop(victimOf(party, session, target ?? ''), 'SIGKILL');
        if (party === 'daemon') {
          admin.close();
          await startAccessPoint(lab);
          admin = await LabAdmin.open(lab.plan);
        } else {
          // Long enough for the take-over to come first, if it can.
          await sleep(400);
          await admin.resume();
          await startEndpoint(lab, lab.party(victimOf(party, session, target ?? '')), { isProtected: true });
        }
        await awaitHealthy(lab, names);
        const story = await settled(admin, session.id);
        await sleep(300);
        const [client] = await fleet.finish(20_000);
        const context = `${JSON.stringify(story)} client: ${client?.trouble ?? 'fine'}`;
        expect(story.session, context).not.toBeNull();
        expect(story.record, context).toMatchObject({ endpoint: story.session?.endpoint, phase: 'active' });
        expect(client, context).toMatchObject({
          resets: 0,
          lostBytes: 0,
          duplicatedBytes: 0,
          mismatchedBytes: 0,
        });
        expect(client?.receivedBytes, context).toBe(client?.sentBytes);
      } finally {
        await admin.resume().catch(() => undefined);
        admin.close();
        await fleet.close();
      }
    },
    120_000,
  );
});

/** The session once its replica stands. */
async function replicated(admin: LabAdmin, id: string): Promise<SessionAnswer> {
  for (;;) {
    const { session } = await admin.story(id);
    if (typeof session?.cheapTarget === 'string') return session;
    await sleep(20);
  }
}

function thirdParty({ endpoint, buddy }: SessionAnswer): string | undefined {
  return names.find((name) => name !== endpoint && name !== buddy);
}

function victimOf(party: Party, session: SessionAnswer, target: string): string {
  if (party === 'daemon') return accessPointName;
  if (party === 'buddy') return session.buddy ?? '';
  return party === 'source' ? session.endpoint : target;
}
