/** The acts of the demo, in their order. */
import { setTimeout as sleep } from 'node:timers/promises';
import { pickOne } from '../load/seeded-random.js';
import { planEndpoint } from '../lab/lab-plan.js';
import { signalProcess } from '../lab/process-identity.js';
import { awaitHealthy, startAgent, startEndpoint } from '../lab/start-parties.js';
import { killUnderClients } from './crash-act.js';
import type { DemoStage } from './demo-stage.js';

/** One act. */
export interface DemoAct {
  readonly title: string;
  readonly play: (stage: DemoStage) => Promise<void>;
}

const moveForMs = 5000;
const movesPerSec = 40;
const movesAtOnce = 4;
const drained = 'b';
const joining = 'd';

/** All acts; about 40 s. */
export const demoActs: readonly DemoAct[] = [
  {
    title: 'Act 1  Clients connect to the VIP and are spread over three servers',
    play: (stage) => stage.rest(2000),
  },
  { title: 'Act 2  Sessions are moved at random, under load', play: moveAtRandom },
  { title: `Act 3  Server ${drained} is drained to zero, and stopped`, play: drainAndStop },
  {
    title: `Act 4  Server ${joining} joins, and sessions that are already open are moved onto it`,
    play: joinAndRebalance,
  },
  {
    title: `Act 5  Server ${drained} comes back and is killed in the middle of moves to it`,
    play: failInMidMove,
  },
  {
    title: `Act 6  Server ${drained} comes back, sixty more clients talk to it, and it is killed without a word`,
    play: (stage) => killUnderClients(stage, drained),
  },
];

async function moveAtRandom(stage: DemoStage): Promise<void> {
  const endMs = performance.now() + moveForMs * stage.pace;
  const running = new Set<Promise<void>>();
  const sessions = await stage.admin.sessions();
  while (performance.now() < endMs) {
    const session = pickOne(stage.random, sessions);
    if (session !== undefined && running.size < movesAtOnce) {
      const one = stage.move(session).finally(() => running.delete(one));
      running.add(one);
    }
    await sleep(1000 / movesPerSec);
  }
  await Promise.all(running);
}

async function drainAndStop(stage: DemoStage): Promise<void> {
  const progress = await stage.admin.drain(drained);
  stage.view.note(`${drained} is empty: ${progress.moved} sessions moved away`);
  await stage.lab.stop(drained);
  stage.view.note(`${drained} is stopped`);
  await stage.rest(1500);
}

async function joinAndRebalance(stage: DemoStage): Promise<void> {
  const party = planEndpoint(stage.lab.plan, joining.charCodeAt(0) - 97);
  stage.lab.join(party);
  await startAgent(stage.lab, party);
  await startEndpoint(stage.lab, party, { isProtected: true });
  await awaitHealthy(stage.lab, [joining]);
  const sessions = await stage.admin.sessions();
  const serving = new Set(sessions.map((s) => s.endpoint)).size + 1;
  const fair = Math.floor(sessions.length / serving);
  const left = new Map<string, number>();
  for (const s of sessions) left.set(s.endpoint, (left.get(s.endpoint) ?? 0) + 1);
  let moved = 0;
  for (const session of sessions) {
    const here = left.get(session.endpoint) ?? 0;
    if (here <= fair || moved >= fair) continue;
    left.set(session.endpoint, here - 1);
    moved++;
    await stage.move(session, joining);
  }
  stage.view.note(`${moved} sessions moved to ${joining}`);
  await stage.rest(1500);
}

async function failInMidMove(stage: DemoStage): Promise<void> {
  await stage.admin.undrain(drained);
  await startEndpoint(stage.lab, stage.lab.party(drained), { isProtected: true });
  await awaitHealthy(stage.lab, [drained]);
  const sessions = (await stage.admin.sessions()).filter((s) => s.endpoint !== drained);
  await stage.collectMoves();
  const before = stage.records.length;
  await stage.admin.pause('freeze');
  const moves = sessions.slice(0, 3).map((session) => stage.move(session, drained));
  await sleep(200);
  const target = stage.lab.findProcess(drained);
  // Stopped first: a killed process is noticed at once, and the images would never be on their way.
  if (target !== undefined) signalProcess(target, 'SIGSTOP');
  await stage.admin.resume();
  await sleep(30);
  await stage.lab.stop(drained, 'SIGKILL');
  await Promise.all(moves);
  await stage.collectMoves();
  const reverted = stage.records.slice(before).filter((r) => r.outcome === 'reverted').length;
  stage.view.note(
    `${drained} was killed while ${moves.length} sessions were on their way; ${reverted} went on at their source`,
  );
  await stage.rest(1500);
}
