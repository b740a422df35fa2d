/**
 * `restitch lab crash --fault daemon`: an endpoint is killed, and while its sessions are being taken over the access
 * point's daemon is killed as well. The next daemon knows nothing of either; no session may be lost all the same.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RestitchError } from '@restitch/core';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { ClientFleet } from './client-fleet.js';
import { describeConnections, keepEvidence } from './crash-evidence.js';
import type { ClientReport, ClientSpec } from '../load/clients/driver-messages.js';
import { monotonicMs } from '../load/clients/monotonic.js';
import type { Lab } from './lab.js';
import { LabAdmin, clientKey } from './lab-admin.js';
import type { CrashReport, LabCrashOptions } from './lab-crash.js';
import { labPorts } from './lab-plan.js';
import { findGapMs, toAnswerSeries, toPauseSeries } from '../load/measure/gaps.js';
import { describeValues } from '../load/measure/percentiles.js';
import { matchSessions } from './move-load.js';
import { isClean, sumBytes } from './move-report.js';
import { openLab } from './open-lab.js';
import {
  areLivesKept,
  awaitReplicated,
  describeLives,
  formatLives,
  livesOf,
  startLives,
} from './crash-lives.js';
import type { LifeBed } from './life-bed.js';
import { createRandom, pickOne } from '../load/seeded-random.js';
import { accessPointName, awaitHealthy, startAccessPoint, startEndpoint } from './start-parties.js';

/** What `lab crash --fault daemon --json` prints. */
interface DaemonReport extends CrashReport {
  /** How long after the endpoint each daemon was killed. */
  readonly daemonDelaysMs: readonly number[];
}

const warmUpMs = 1500;
/** From the death to the end of the take-over: the daemon dies somewhere in there. */
const longestDelayMs = 200;
/** The daemon's start, its grace for endpoints that have not come, and the take-over. */
const recoveryMs = 30_000;
const settleMs = 2000;
const drainMs = 20_000;
const outageWindowMs = 20_000;

interface DaemonFault {
  readonly atMs: number;
  readonly delayMs: number;
  readonly orphaned: ReadonlySet<string>;
  readonly taken: number;
  readonly lost: number;
}

/** Runs it in a laboratory of its own; 0 only if every session lives on and no client noticed more than a pause. */
export async function runLabCrashDaemon(env: CliEnv, options: LabCrashOptions): Promise<number> {
  const progress = (text: string): void => env.err(`${text}\n`);
  const { endpoints, rttMs, loss: lossRatio, seed, ipv6 = false } = options;
  const lab = await openLab(
    { endpoints, ipv6, rttMs, lossRatio, seed, isKept: false, isProtected: true },
    progress,
  );
  try {
    const report = await killWithDaemon(lab, options, progress);
    env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatDaemon(report));
    const isGood = isClean(report) && report.lost === 0 && report.taken > 0 && areLivesKept(report);
    if (!isGood) progress(`evidence: ${keepEvidence(lab, describeConnections(lab))}`);
    return isGood ? exitCodes.ok : exitCodes.failed;
  } finally {
    await lab.down();
  }
}

async function killWithDaemon(
  lab: Lab,
  options: LabCrashOptions,
  progress: (text: string) => void,
): Promise<DaemonReport> {
  const fleet = await ClientFleet.start(lab);
  const random = createRandom(options.seed);
  const faults: DaemonFault[] = [];
  let lives: LifeBed | undefined;
  try {
    const admin = await LabAdmin.open(lab.plan);
    await matchSessions(admin, await fleet.open(createClients(lab, options)));
    admin.close();
    lives = await startLives(lab, options);
    await sleep(warmUpMs);
    for (let kill = 0; kill < options.kills; kill++) {
      // Every second time both at once: then nobody has even noticed the death.
      const fault = await killOne(lab, random, {
        delayMs: kill % 2 === 0 ? 0 : random() * longestDelayMs,
        lives,
      });
      faults.push(fault);
      progress(
        `fault ${kill + 1}: daemon killed after ${Math.round(fault.delayMs)} ms, ${fault.taken} taken over`,
      );
    }
    const clients = await fleet.finish(drainMs);
    const run = await lives?.finish(drainMs);
    return {
      ...toReport(clients, faults),
      sessions: options.sessions,
      ...describeLives(run, options, clients),
    };
  } finally {
    await fleet.close();
    await lives?.close();
  }
}

async function killOne(
  lab: Lab,
  random: () => number,
  how: { readonly delayMs: number; readonly lives: LifeBed | undefined },
): Promise<DaemonFault> {
  const { delayMs, lives } = how;
  const before = await sessionsOf(lab, lives !== undefined);
  const serving = [...new Set(before.map((s) => s.endpoint))].sort();
  const victim = (await lives?.chooseVictim(serving, random)) ?? pickOne(random, serving) ?? 'a';
  const aim = await lives?.aim(victim);
  // Phase clients come and go: whether they are served is theirs to say.
  const orphans = before.filter((s) => s.endpoint === victim && s.flow.vip.port === labPorts.echo);
  if (aim !== undefined) await sleep(Math.max(0, aim.atMs - monotonicMs()));
  const atMs = monotonicMs();
  if (aim !== undefined) lives?.note(aim, atMs, true);
  const [endpointPid, daemonPid] = [victim, accessPointName].map((name) => lab.findProcess(name)?.pid ?? 0);
  if (endpointPid === undefined || daemonPid === undefined) throw new RestitchError('internal', 'no process');
  // The daemon first: by the next line it would have seen the death and done half of what follows.
  if (delayMs === 0) process.kill(daemonPid, 'SIGKILL');
  process.kill(endpointPid, 'SIGKILL');
  if (delayMs > 0) await sleep(delayMs);
  await lab.stop(accessPointName, 'SIGKILL');
  await lab.stop(victim, 'SIGKILL');
  await startAccessPoint(lab);
  let found = new Set<string>();
  while (found.size < orphans.length && monotonicMs() - atMs < recoveryMs) {
    const served = (await sessionsOf(lab)).filter((s) => s.endpoint !== victim && s.doubt === null);
    found = new Set(served.map((s) => s.id).filter((id) => orphans.some((o) => o.id === id)));
    await sleep(50);
  }
  await startEndpoint(lab, lab.party(victim), { isProtected: true });
  await awaitHealthy(lab, lab.state.endpoints);
  await sleep(settleMs);
  return {
    atMs,
    delayMs,
    orphaned: new Set(orphans.map((s) => clientKey(s.flow.client.address, s.flow.client.port))),
    taken: found.size,
    lost: orphans.length - found.size,
  };
}

async function sessionsOf(lab: Lab, isSettled = false): ReturnType<LabAdmin['sessions']> {
  const admin = await LabAdmin.open(lab.plan);
  try {
    if (isSettled) await awaitReplicated(admin);
    return await admin.sessions();
  } finally {
    admin.close();
  }
}

/** Request/response, and every fourth bulk both ways. */
function createClients(lab: Lab, options: LabCrashOptions): ClientSpec[] {
  return Array.from({ length: options.sessions - livesOf(options) }, (_, i) => ({
    tag: `c${i}`,
    kind: i % 4 === 3 ? 'bulk' : 'line',
    address: options.ipv6 === true ? lab.plan.vipIpv6 : lab.plan.vipIpv4,
    port: labPorts.echo,
    recordBytes: 64,
    recordsPerSec: 50,
    bytesPerSec: 300_000,
  }));
}

function toReport(clients: readonly ClientReport[], faults: readonly DaemonFault[]): DaemonReport {
  const outages = new Map<string, number[]>();
  for (const client of clients) {
    const series = (client.kind === 'line' ? toAnswerSeries : toPauseSeries)(client.samples);
    const key = clientKey(client.localAddress, client.localPort);
    for (const fault of faults.filter((f) => f.orphaned.has(key))) {
      const gapMs = findGapMs(series, fault.atMs, fault.atMs + outageWindowMs);
      if (gapMs !== undefined) outages.set(client.kind, [...(outages.get(client.kind) ?? []), gapMs]);
    }
  }
  return {
    sessions: clients.length,
    fault: 'daemon',
    kills: faults.length,
    taken: faults.reduce((sum, f) => sum + f.taken, 0),
    lost: faults.reduce((sum, f) => sum + f.lost, 0),
    bytes: sumBytes(clients),
    clientResets: clients.reduce((sum, c) => sum + c.resets, 0),
    clientRtos: clients.reduce((sum, c) => sum + c.rtos, 0),
    detectMs: describeValues([]),
    outageMs: describeValues([...outages.values()].flat()),
    outageByKindMs: Object.fromEntries([...outages].map(([kind, values]) => [kind, describeValues(values)])),
    stories: clients.flatMap((c) => (c.trouble === undefined ? [] : [`${c.tag}: ${c.trouble}`])).slice(0, 10),
    daemonDelaysMs: faults.map((f) => Math.round(f.delayMs)),
  };
}

function formatDaemon(report: DaemonReport): string {
  const { bytes, outageMs } = report;
  const lines = [
    `sessions     ${report.sessions}`,
    `faults       ${report.kills} × endpoint and daemon: ${report.taken} sessions taken over, ${report.lost} lost`,
    `             daemon killed ${report.daemonDelaysMs.join(', ')} ms after the endpoint`,
    `bytes        ${bytes.lost} lost, ${bytes.duplicated} doubled, ${bytes.mismatched} mismatched`,
    `clients      ${report.clientResets} resets, ${report.clientRtos} retransmission timeouts`,
    `outage       p50 ${outageMs.p50}  p99 ${outageMs.p99}  max ${outageMs.max} ms`,
    ...formatLives(report),
    ...report.stories.map((story) => `trouble      ${story}`),
  ];
  return `${lines.join('\n')}\n`;
}
