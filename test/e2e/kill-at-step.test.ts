/**
 * Every step of a move × every party, with real processes that are really killed (SIGKILL) while the move stands at the
 * step. What must come of it is docs/architecture.md, "Who dies, and what then".
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MoveStep } from '@restitch/wire/internal';
import type { MoveAnswer } from '@restitch/wire';
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
import { noticed, pauseMove, settled, widenBudget } from './paused-move.js';

/** A move stands at the door of the step: what comes before is done, the step's own messages are not sent. */
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
const parties = ['source', 'target', 'daemon'] as const;
type Step = (typeof steps)[number];
type Party = (typeof parties)[number];

let lab: Lab;

beforeAll(async () => {
  lab = await openLab({ endpoints: 3, ipv6: false, rttMs: 0, lossRatio: 0, isKept: false }, (text) =>
    process.stderr.write(`${text}\n`),
  );
  await widenBudget(lab);
}, 90_000);

afterAll(async () => {
  await lab?.down();
}, 30_000);

/** Whether the connection must live on. */
function mustLive(step: Step, party: Party): boolean {
  const at = steps.indexOf(step);
  if (party === 'daemon') return true;
  // The source's kernel ends its sessions with its process, until the image is at the target.
  if (party === 'source') return at >= steps.indexOf('thaw');
  return at < steps.indexOf('activate');
}

describe.each(steps)('a move that stands before %s', (step) => {
  it.each(parties)(
    'the %s is killed',
    async (party) => {
      const fleet = await ClientFleet.start(lab, `clients-${step}-${party}`);
      let admin = await LabAdmin.open(lab.plan);
      try {
        const spec = { sessions: 1, payload: 64, rate: 100 };
        const opened = await fleet.open(createClients(lab, spec));
        const [session] = [...(await matchSessions(admin, opened)).values()];
        if (session === undefined) throw new Error('no session');
        const source = session.endpoint;
        const target = source === 'a' ? 'b' : 'a';
        const { ended } = await pauseMove(admin, { step, sessionId: session.id, target });
        const victim = party === 'daemon' ? accessPointName : party === 'source' ? source : target;
        await lab.stop(victim, 'SIGKILL');
        if (party === 'daemon') {
          admin.close();
          await startAccessPoint(lab);
          admin = await LabAdmin.open(lab.plan);
        } else {
          await noticed(admin, victim);
          await admin.resume();
          await startEndpoint(lab, lab.party(victim));
        }
        await awaitHealthy(lab, ['a', 'b', 'c']);
        const story = await settled(admin, session.id);
        await sleep(300);
        const [client] = await fleet.finish(20_000);
        const context = `${JSON.stringify(story.session)} ${JSON.stringify(story.record)} client: ${client?.trouble ?? 'fine'}`;
        if (mustLive(step, party)) {
          expect(story.session, context).not.toBeNull();
          expect(story.record, context).toMatchObject({ endpoint: story.session?.endpoint, phase: 'active' });
          expect(client, context).toMatchObject({
            resets: 0,
            lostBytes: 0,
            duplicatedBytes: 0,
            mismatchedBytes: 0,
          });
          expect(client?.receivedBytes, context).toBe(client?.sentBytes);
        } else {
          expect(story.session, context).toBeNull();
        }
        if (party !== 'daemon') assertToldTruly(await ended, { step, party });
      } finally {
        await admin.resume().catch(() => undefined);
        admin.close();
        await fleet.close();
      }
    },
    120_000,
  );
});

/** The move's end says what happened, and where. */
function assertToldTruly(
  record: MoveAnswer | undefined,
  { step, party }: { step: Step; party: Party },
): void {
  if (record === undefined) throw new Error('the move has no record');
  const told = `${record.outcome} ${JSON.stringify(record.failure)}`;
  const isSwitched = steps.indexOf(step) > steps.indexOf('switch');
  if (isSwitched) {
    expect(record.outcome, told).toBe('committed');
    if (party === 'target' && step !== 'release') expect(record.unconfirmed, told).toBe(true);
    return;
  }
  if (party === 'source' && step !== 'prepare' && step !== 'hold' && step !== 'freeze') {
    expect(record.outcome, told).toBe('committed');
    return;
  }
  expect(record.outcome, told).not.toBe('committed');
  // Whether the lost connection or the step's deadline is noticed first is the machine's business.
  expect(['peer_lost', 'deadline_exceeded'], told).toContain(record.failure?.code);
}
