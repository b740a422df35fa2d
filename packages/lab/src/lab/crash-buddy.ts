/**
 * `restitch lab crash --fault buddy`: an endpoint that serves nobody and keeps replicas is killed. Its death must cost
 * nothing but a pause of acknowledgements, until the sessions it was the buddy of have another one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RestitchError } from '@restitch/core';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { ClientFleet } from './client-fleet.js';
import type { ClientReport, ClientSpec } from '../load/clients/driver-messages.js';
import { monotonicMs } from '../load/clients/monotonic.js';
import { holdersOf } from './holders.js';
import type { Lab } from './lab.js';
import { LabAdmin, clientKey } from './lab-admin.js';
import type { CrashReport, LabCrashOptions } from './lab-crash.js';
import { labPorts } from './lab-plan.js';
import { findGapMs, toAnswerSeries, toPauseSeries } from '../load/measure/gaps.js';
import { describeValues } from '../load/measure/percentiles.js';
import type { Distribution } from '../load/measure/percentiles.js';
import { matchSessions } from './move-load.js';
import { isClean, sumBytes } from './move-report.js';
import { openLab } from './open-lab.js';
import { createRandom } from '../load/seeded-random.js';
import { awaitHealthy, startEndpoint } from './start-parties.js';

/** What `lab crash --fault buddy --json` prints. */
interface BuddyReport extends CrashReport {
  /** Sessions that lost their buddy, summed over the faults. */
  readonly bereaved: number;
  /** Replicas that were made anew at another endpoint. */
  readonly rereplicated: number;
  /** From the kill until the last bereaved session had its replica elsewhere, seen by heartbeats every 200 ms. */
  readonly rereplicateMs: Distribution;
  /** The same as one owner sees it, from the choice of the next buddy to its word: mean over sessions. */
  readonly rereplicateMeanMs: number;
}

const warmUpMs = 1500;
const settleMs = 2000;
const drainMs = 15_000;
const outageWindowMs = 3000;
const patienceMs = 20_000;

interface BuddyFault {
  readonly atMs: number;
  readonly bereaved: ReadonlySet<string>;
  readonly rereplicateMs: number;
}

/** What the endpoints that live say of new replicas. */
interface Rereplication {
  readonly count: number;
  readonly sumMs: number;
}

/** Runs it in a laboratory of its own; 0 only if no client noticed and every bereaved session has a replica again. */
export async function runLabCrashBuddy(env: CliEnv, options: LabCrashOptions): Promise<number> {
  const progress = (text: string): void => env.err(`${text}\n`);
  const { endpoints, rttMs, loss: lossRatio, seed, ipv6 = false } = options;
  if (endpoints < 3) throw new RestitchError('usage', '--fault buddy needs 3 endpoints');
  const lab = await openLab(
    { endpoints, ipv6, rttMs, lossRatio, seed, isKept: false, isProtected: true },
    progress,
  );
  try {
    const report = await killBuddies(lab, options, progress);
    env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatBuddy(report));
    const { taken, lost, bereaved, rereplicated } = report;
    const isInTime = report.rereplicateMs.max < patienceMs;
    const isGood =
      isClean(report) && taken + lost === 0 && bereaved > 0 && rereplicated >= bereaved && isInTime;
    if (!isGood) progress(lab.lastLogLines(12));
    return isGood ? exitCodes.ok : exitCodes.failed;
  } finally {
    await lab.down();
  }
}

async function killBuddies(
  lab: Lab,
  options: LabCrashOptions,
  progress: (text: string) => void,
): Promise<BuddyReport> {
  const fleet = await ClientFleet.start(lab);
  const admin = await LabAdmin.open(lab.plan);
  const random = createRandom(options.seed);
  const victim = lab.state.endpoints.at(-1) ?? 'c';
  try {
    // New connections go to those that are there: it comes back without a session of its own, and stays so.
    await lab.stop(victim, 'SIGKILL');
    await awaitAbsent(admin, victim);
    await matchSessions(admin, await fleet.open(createClients(lab, options)));
    await startEndpoint(lab, lab.party(victim), { isProtected: true });
    await awaitHealthy(lab, lab.state.endpoints);
    await sleep(warmUpMs + settleMs);
    const before = await readRereplication(admin, victim);
    const faults: BuddyFault[] = [];
    for (let kill = 0; kill < options.kills; kill++) {
      await sleep(random() * 200);
      const fault = await killBuddy(lab, admin, victim);
      faults.push(fault);
      progress(`fault ${kill + 1}: ${fault.bereaved.size} sessions lost their buddy`);
    }
    const after = await readRereplication(admin, victim);
    const clients = await fleet.finish(drainMs);
    const takeOvers = await admin.takeOvers();
    const made = { count: after.count - before.count, sumMs: after.sumMs - before.sumMs };
    return toReport(clients, faults, { made, takeOvers: takeOvers.filter((t) => t.taken + t.lost > 0) });
  } finally {
    admin.close();
    await fleet.close();
  }
}

async function killBuddy(lab: Lab, admin: LabAdmin, victim: string): Promise<BuddyFault> {
  const sessions = await admin.sessions();
  const held = holdersOf(sessions, lab.state.endpoints).filter((h) => h.buddy === victim);
  const before = await readRereplication(admin, victim);
  const atMs = monotonicMs();
  await lab.stop(victim, 'SIGKILL');
  let rereplicateMs = patienceMs;
  while (monotonicMs() - atMs < patienceMs) {
    if ((await readRereplication(admin, victim)).count - before.count >= held.length) {
      rereplicateMs = monotonicMs() - atMs;
      break;
    }
    await sleep(10);
  }
  await sleep(500);
  await startEndpoint(lab, lab.party(victim), { isProtected: true });
  await awaitHealthy(lab, lab.state.endpoints);
  await sleep(settleMs);
  return { atMs, bereaved: new Set(held.map((h) => h.client)), rereplicateMs };
}

async function awaitAbsent(admin: LabAdmin, name: string): Promise<void> {
  for (let i = 0; i < patienceMs / 20; i++) {
    const endpoint = (await admin.endpoints()).find((e) => e.name === name);
    if (endpoint?.liveness !== 'healthy') return;
    await sleep(20);
  }
  throw new RestitchError('internal', `endpoint ${name} was killed and is healthy`);
}

async function readRereplication(admin: LabAdmin, victim: string): Promise<Rereplication> {
  const living = (await admin.endpoints()).filter((e) => e.name !== victim);
  const sum = (key: string): number => living.reduce((total, e) => total + (e.counters[key] ?? 0), 0);
  return {
    count: sum('endpoint_rereplications_total'),
    sumMs: sum('endpoint_rereplication_ms_total'),
  };
}

/** Half request/response, half bulk both ways. */
function createClients(lab: Lab, options: LabCrashOptions): ClientSpec[] {
  return Array.from({ length: options.sessions }, (_, i) => ({
    tag: `c${i}`,
    kind: i % 4 === 3 ? 'bulk' : 'line',
    address: options.ipv6 === true ? lab.plan.vipIpv6 : lab.plan.vipIpv4,
    port: labPorts.echo,
    recordBytes: 64,
    recordsPerSec: 50,
    bytesPerSec: 300_000,
  }));
}

function toReport(
  clients: readonly ClientReport[],
  faults: readonly BuddyFault[],
  run: { made: Rereplication; takeOvers: ReadonlyArray<{ taken: number; lost: number }> },
): BuddyReport {
  const outages = new Map<string, number[]>();
  for (const client of clients) {
    const series = (client.kind === 'line' ? toAnswerSeries : toPauseSeries)(client.samples);
    const key = clientKey(client.localAddress, client.localPort);
    for (const fault of faults.filter((f) => f.bereaved.has(key))) {
      const gapMs = findGapMs(series, fault.atMs, fault.atMs + outageWindowMs);
      if (gapMs !== undefined) outages.set(client.kind, [...(outages.get(client.kind) ?? []), gapMs]);
    }
  }
  const { made, takeOvers } = run;
  return {
    sessions: clients.length,
    fault: 'buddy',
    kills: faults.length,
    taken: takeOvers.reduce((sum, t) => sum + t.taken, 0),
    lost: takeOvers.reduce((sum, t) => sum + t.lost, 0),
    bytes: sumBytes(clients),
    clientResets: clients.reduce((sum, c) => sum + c.resets, 0),
    clientRtos: clients.reduce((sum, c) => sum + c.rtos, 0),
    detectMs: describeValues([]),
    outageMs: describeValues([...outages.values()].flat()),
    outageByKindMs: Object.fromEntries([...outages].map(([kind, values]) => [kind, describeValues(values)])),
    stories: clients.flatMap((c) => (c.trouble === undefined ? [] : [`${c.tag}: ${c.trouble}`])).slice(0, 10),
    bereaved: faults.reduce((sum, f) => sum + f.bereaved.size, 0),
    rereplicated: made.count,
    rereplicateMs: describeValues(faults.map((f) => f.rereplicateMs)),
    rereplicateMeanMs: made.count === 0 ? 0 : Math.round((made.sumMs / made.count) * 100) / 100,
  };
}

function formatBuddy(report: BuddyReport): string {
  const { bytes, rereplicateMs } = report;
  const lines = [
    `sessions     ${report.sessions}`,
    `faults       ${report.kills} × buddy: ${report.bereaved} sessions lost their buddy, ${report.taken} taken over, ${report.lost} lost`,
    `replicas     ${report.rereplicated} made anew, mean ${report.rereplicateMeanMs} ms each`,
    `             p50 ${rereplicateMs.p50}  max ${rereplicateMs.max} ms from the kill to the last of them`,
    `bytes        ${bytes.lost} lost, ${bytes.duplicated} doubled, ${bytes.mismatched} mismatched`,
    `clients      ${report.clientResets} resets, ${report.clientRtos} retransmission timeouts`,
    `pause        p50 ${report.outageMs.p50}  p99 ${report.outageMs.p99}  max ${report.outageMs.max} ms`,
    ...report.stories.map((story) => `trouble      ${story}`),
  ];
  return `${lines.join('\n')}\n`;
}
