/**
 * Every step of a move × every party, with real processes that are really killed (SIGKILL) while the move stands at the
 * step. What must come of it is docs/architecture.md, "Who dies, and what then".
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAdminClient } from '@restitch/access-point';
import type { MoveRecord, MoveStep } from '@restitch/access-point';
import { ClientFleet } from '../../packages/cli/src/lab/client-fleet.js';
import { adminSocketOf } from '../../packages/cli/src/lab/lab-config.js';
import { LabAdmin } from '../../packages/cli/src/lab/lab-admin.js';
import type { SessionStory } from '../../packages/cli/src/lab/lab-admin.js';
import type { Lab } from '../../packages/cli/src/lab/lab.js';
import { createClients } from '../../packages/cli/src/lab/lab-move.js';
import { matchSessions } from '../../packages/cli/src/lab/move-load.js';
import { openLab } from '../../packages/cli/src/lab/open-lab.js';
import {
  accessPointName,
  awaitHealthy,
  startAccessPoint,
  startEndpoint,
} from '../../packages/cli/src/lab/start-parties.js';

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

const settleMs = 60_000;
let lab: Lab;

beforeAll(async () => {
  lab = await openLab({ endpoints: 3, ipv6: false, rttMs: 0, lossRatio: 0, isKept: false }, (text) =>
    process.stderr.write(`${text}\n`),
  );
  await widenBudget();
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

/** A machine that runs other tests too may need more than 50 ms; it is not the time that is tested here. */
async function widenBudget(): Promise<void> {
  const file = `${lab.plan.directory}/access-point.yaml`;
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace('moves:\n', 'moves:\n  budget: 5s\n'));
  const admin = await openAdminClient(adminSocketOf(lab.plan));
  await admin.call({ cmd: 'reload' });
  admin.close();
}

/** The daemon has seen that the endpoint's process is gone. */
async function noticed(admin: LabAdmin, name: string): Promise<void> {
  for (;;) {
    const endpoint = (await admin.endpoints()).find((e) => e.name === name);
    if (endpoint?.liveness !== 'healthy') return;
    await sleep(5);
  }
}

/** Starts the move and waits until it stands at the step; resolves to a promise of its record. */
async function pauseMove(
  admin: LabAdmin,
  what: { step: Step; sessionId: string; target: string },
): Promise<{ ended: Promise<MoveRecord | undefined> }> {
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
async function settled(admin: LabAdmin, id: string): Promise<SessionStory> {
  const endMs = performance.now() + settleMs;
  for (;;) {
    const status = await admin.status();
    const story = await admin
      .story(id)
      .catch((): SessionStory => ({ session: null, record: null, moves: [] }));
    const isBusy = story.session !== null && (story.session.move !== null || story.session.doubt !== null);
    const isActive = story.session === null || story.record?.phase === 'active';
    if (status.moves.running === 0 && status.doubts === 0 && !isBusy && isActive) return story;
    if (performance.now() > endMs) throw new Error(`not settled: ${JSON.stringify(story)}`);
    await sleep(20);
  }
}

/** The move's end says what happened, and where. */
function assertToldTruly(
  record: MoveRecord | undefined,
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
