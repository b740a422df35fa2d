/** The act in which a server dies without a word, under clients whose listener is at level commit. */
import { setTimeout as sleep } from 'node:timers/promises';
import { RestitchError } from '@restitch/core';
import type { TakeOverAnswer } from '@restitch/wire';
import type { ClientReport, ClientSpec } from '../load/clients/driver-messages.js';
import { monotonicMs } from '../load/clients/monotonic.js';
import { labPorts } from '../lab/lab-plan.js';
import { findGapMs, toAnswerSeries } from '../load/measure/gaps.js';
import { describeValues } from '../load/measure/percentiles.js';
import type { Distribution } from '../load/measure/percentiles.js';
import { matchSessions } from '../lab/move-load.js';
import { awaitHealthy, startEndpoint } from '../lab/start-parties.js';
import type { DemoStage } from './demo-stage.js';

/** What the act noted: when the server died, and what became of its sessions. */
export interface CrashNote {
  readonly atMs: number;
  readonly endpoint: string;
  readonly tags: ReadonlySet<string>;
  readonly takeOver: TakeOverAnswer;
}

/** What the closing summary says of it. */
export interface CrashSummary {
  readonly sessions: number;
  readonly taken: number;
  readonly lost: number;
  readonly detectMs: number;
  /** Longest pause of each of its clients, less what that client is used to. */
  readonly pauseMs: Distribution;
}

const clients = 60;
const requestsPerSec = 50;
const movesAtOnce = 8;
const gatherRounds = 4;
const takeOverLimitMs = 10_000;
const pauseWindowMs = 5000;

/** Sixty clients connect, all are moved to one server, and that is killed. */
export async function killUnderClients(stage: DemoStage, victim: string): Promise<void> {
  const { lab, admin, fleet } = stage;
  await startEndpoint(lab, lab.party(victim), { isProtected: true });
  await awaitHealthy(lab, [victim]);
  const opened = await matchSessions(admin, await fleet.open(createClients(lab.plan.vipIpv4)));
  const ids = new Set([...opened.values()].map((s) => s.id));
  for (let round = 0; round < gatherRounds; round++) await gather(stage, ids, victim);
  await awaitReplicas(stage, ids);
  await stage.rest(1500);
  const there = new Set((await admin.sessions()).filter((s) => s.endpoint === victim).map((s) => s.id));
  const tags = new Set([...opened].filter(([, s]) => there.has(s.id)).map(([tag]) => tag));
  const before = (await admin.takeOvers()).length;
  stage.view.note(`${victim} is killed with kill -9 while ${tags.size} clients talk to it`);
  const atMs = monotonicMs();
  await lab.stop(victim, 'SIGKILL');
  const takeOver = await awaitTakeOver(stage, victim, before);
  stage.crash = { atMs, endpoint: victim, tags, takeOver };
  stage.view.note(`${takeOver.taken} sessions go on at their buddies, ${takeOver.lost} lost`);
  await stage.rest(2000);
}

/** Moves those that are elsewhere; a move that comes to nothing is tried again in the next round. */
async function gather(stage: DemoStage, ids: ReadonlySet<string>, endpoint: string): Promise<void> {
  const waiting = (await stage.admin.sessions()).filter((s) => ids.has(s.id) && s.endpoint !== endpoint);
  await Promise.all(
    Array.from({ length: movesAtOnce }, async () => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop())
        await stage.move(next, endpoint);
    }),
  );
}

/** The act in numbers, from what its clients saw. */
export function summariseCrash(note: CrashNote, reports: readonly ClientReport[]): CrashSummary {
  const { atMs, tags, takeOver } = note;
  const pauses = reports
    .filter((client) => tags.has(client.tag))
    .map((client) => findGapMs(toAnswerSeries(client.samples), atMs, atMs + pauseWindowMs) ?? pauseWindowMs);
  return {
    sessions: tags.size,
    taken: takeOver.taken,
    lost: takeOver.lost,
    detectMs: Math.round(takeOver.detectMs),
    pauseMs: describeValues(pauses),
  };
}

function createClients(address: string): ClientSpec[] {
  return Array.from({ length: clients }, (_, i) => ({
    tag: `k${i}`,
    kind: 'line',
    address,
    port: labPorts.echo,
    recordBytes: 64,
    recordsPerSec: requestsPerSec,
  }));
}

async function awaitReplicas(stage: DemoStage, ids: ReadonlySet<string>): Promise<void> {
  await until(async () => {
    const sessions = (await stage.admin.sessions()).filter((s) => ids.has(s.id));
    return sessions.every((s) => s.cheapTarget !== null) ? true : undefined;
  }, 'the sessions have no replicas');
}

async function awaitTakeOver(stage: DemoStage, name: string, before: number): Promise<TakeOverAnswer> {
  return until(
    async () => (await stage.admin.takeOvers()).slice(before).find((r) => r.endpoint === name),
    `${name} is not declared dead`,
  );
}

async function until<T>(look: () => Promise<T | undefined>, what: string): Promise<T> {
  const stepMs = 50;
  for (let waitedMs = 0; waitedMs < takeOverLimitMs; waitedMs += stepMs) {
    const found = await look();
    if (found !== undefined) return found;
    await sleep(stepMs);
  }
  throw new RestitchError('deadline_exceeded', `${what} after ${takeOverLimitMs} ms`);
}
