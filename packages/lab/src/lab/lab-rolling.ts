/**
 * `restitch lab rolling --by drain`: every endpoint in turn is drained, ended, started again and undrained, under load.
 *
 * Nothing is taken over here: sessions move, to their buddies where they can, and their replicas leave the endpoint
 * before it ends, so that none is unprotected while it is away.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { ClientFleet } from './client-fleet.js';
import type { ClientReport, ClientSpec } from '../load/clients/driver-messages.js';
import { monotonicMs } from '../load/clients/monotonic.js';
import type { Lab } from './lab.js';
import { LabAdmin } from './lab-admin.js';
import { labPorts } from './lab-plan.js';
import { describeValues } from '../load/measure/percentiles.js';
import type { Distribution } from '../load/measure/percentiles.js';
import { matchSessions } from './move-load.js';
import { isClean, sumBytes } from './move-report.js';
import type { ByteCounts } from './move-report.js';
import { awaitHealthy, startEndpoint } from './start-parties.js';
import { withLab } from './with-lab.js';

/** Options of `lab rolling`. */
export interface LabRollingOptions {
  readonly sessions: number;
  readonly rounds: number;
  readonly endpoints: number;
  readonly rttMs: number;
  readonly loss: number;
  readonly seed: number;
  readonly ipv6?: boolean;
  readonly json?: boolean;
}

/** The object `lab rolling --by drain --json` prints; times in milliseconds. */
interface RollingReport {
  readonly sessions: number;
  readonly restarts: number;
  /** Moves that emptied endpoints, and how many of them went to the session's own buddy. */
  readonly moved: number;
  readonly movedToBuddy: number;
  /** Sessions that nobody served at the end, or that were taken over because a process died with them. */
  readonly lost: number;
  readonly taken: number;
  readonly bytes: ByteCounts;
  readonly clientResets: number;
  /** Until the endpoint had no session left; then, until it kept no replica; until all were replicated again. */
  readonly drainMs: Distribution;
  readonly replicasGoneMs: Distribution;
  readonly settledMs: Distribution;
  /** Replicas that were still on an endpoint when it ended. */
  readonly replicasLeft: number;
  readonly stories: readonly string[];
}

const warmUpMs = 1000;
const clientsEndMs = 15_000;
/** Replicas leave at the next turn of their owners; longer means that they do not leave at all. */
const replicasLeaveMs = 10_000;
const lookMs = 20;

interface Times {
  readonly drainMs: number[];
  readonly replicasGoneMs: number[];
  readonly settledMs: number[];
  replicasLeft: number;
}

/** Runs the experiment in a laboratory of its own; 0 only when no client noticed anything. */
export async function runLabRolling(env: CliEnv, options: LabRollingOptions): Promise<number> {
  const { endpoints, rttMs, seed, loss: lossRatio } = options;
  const report = await withLab(
    env,
    { endpoints, rttMs, seed, lossRatio, ipv6: options.ipv6 === true, isProtected: true },
    (lab) => rollUnderLoad(lab, options, (text) => env.err(`${text}\n`)),
  );
  env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatReport(report));
  const isGood =
    isClean(report) && report.lost + report.taken + report.replicasLeft === 0 && report.moved > 0;
  return isGood ? exitCodes.ok : exitCodes.failed;
}

async function rollUnderLoad(
  lab: Lab,
  options: LabRollingOptions,
  progress: (text: string) => void,
): Promise<RollingReport> {
  const fleet = await ClientFleet.start(lab);
  const admin = await LabAdmin.open(lab.plan);
  const times: Times = { drainMs: [], replicasGoneMs: [], settledMs: [], replicasLeft: 0 };
  try {
    const opened = await fleet.open(createClients(lab, options));
    await matchSessions(admin, opened);
    progress(`${opened.length} clients connected`);
    await sleep(warmUpMs);
    await settled(admin);
    const { lastSeq } = (await admin.status()).moves;
    for (let round = 1; round <= options.rounds; round++) {
      for (const name of lab.state.endpoints) await restart(lab, admin, name, times);
      progress(`round ${round} of ${options.rounds}`);
    }
    const left = (await admin.sessions()).length;
    const moves = (await admin.moves(lastSeq)).filter((m) => m.outcome === 'committed');
    const takeOvers = await admin.takeOvers();
    const clients: readonly ClientReport[] = await fleet.finish(clientsEndMs);
    return {
      sessions: clients.length,
      restarts: times.drainMs.length,
      moved: moves.length,
      movedToBuddy: moves.filter((m) => m.figures['toBuddy'] === 1).length,
      lost: clients.length - left,
      taken: takeOvers.reduce((total, r) => total + r.taken + r.lost, 0),
      bytes: sumBytes(clients),
      clientResets: clients.reduce((total, c) => total + c.resets, 0),
      drainMs: describeValues(times.drainMs),
      replicasGoneMs: describeValues(times.replicasGoneMs),
      settledMs: describeValues(times.settledMs),
      replicasLeft: times.replicasLeft,
      stories: clients
        .flatMap((c) => (c.trouble === undefined ? [] : [`${c.tag}: ${c.trouble}`]))
        .slice(0, 10),
    };
  } finally {
    admin.close();
    await fleet.close();
  }
}

/** Drains, ends, starts and undrains one endpoint. */
async function restart(lab: Lab, admin: LabAdmin, name: string, times: Times): Promise<void> {
  const beganMs = monotonicMs();
  await admin.drain(name);
  const drainedMs = monotonicMs();
  const left = await replicasGone(admin, name);
  times.drainMs.push(drainedMs - beganMs);
  times.replicasGoneMs.push(monotonicMs() - drainedMs);
  times.replicasLeft += left;
  await lab.stop(name, 'SIGTERM');
  await startEndpoint(lab, lab.party(name), { isProtected: true });
  await awaitHealthy(lab, lab.state.endpoints);
  const backMs = monotonicMs();
  await admin.undrain(name);
  await settled(admin);
  times.settledMs.push(monotonicMs() - backMs);
}

/** How many replicas are still there once no more are leaving. */
async function replicasGone(admin: LabAdmin, name: string): Promise<number> {
  const endMs = monotonicMs() + replicasLeaveMs;
  for (;;) {
    const endpoint = (await admin.endpoints()).find((e) => e.name === name);
    const replicas = endpoint?.replication?.replicas ?? 0;
    if (replicas === 0 || monotonicMs() > endMs) return replicas;
    await sleep(lookMs);
  }
}

/** All sessions are where their buddies are to be: two heartbeats long, for figures are as old as one. */
async function settled(admin: LabAdmin): Promise<void> {
  const endMs = monotonicMs() + replicasLeaveMs;
  for (let quiet = 0; quiet < 20 && monotonicMs() < endMs; quiet++) {
    const endpoints = await admin.endpoints();
    const isPending = endpoints.some(
      ({ replication: r }) => (r?.pendingSessions ?? 0) + (r?.degradedSessions ?? 0) > 0,
    );
    if (isPending) quiet = 0;
    await sleep(lookMs);
  }
}

function createClients(lab: Lab, options: LabRollingOptions): ClientSpec[] {
  return Array.from({ length: options.sessions }, (_, i) => ({
    tag: `c${i}`,
    kind: i % 4 === 3 ? 'bulk' : 'line',
    address: options.ipv6 === true ? lab.plan.vipIpv6 : lab.plan.vipIpv4,
    port: labPorts.echo,
    recordBytes: 64,
    recordsPerSec: 50,
    bytesPerSec: 500_000,
  }));
}

function formatReport(report: RollingReport): string {
  const ms = (d: Distribution): string => `p50 ${d.p50}  p99 ${d.p99}  max ${d.max} ms`;
  const { bytes } = report;
  const lines = [
    `sessions     ${report.sessions}, ${report.restarts} restarts of endpoints`,
    `moves        ${report.moved}, ${report.movedToBuddy} of them to the buddy; ${report.taken} sessions taken over, ${report.lost} lost`,
    `bytes        ${bytes.sent} sent, ${bytes.received} received and checked`,
    `             ${bytes.lost} lost, ${bytes.duplicated} doubled, ${bytes.mismatched} mismatched`,
    `clients      ${report.clientResets} resets`,
    `drained      ${ms(report.drainMs)}`,
    `no replicas  ${ms(report.replicasGoneMs)} later, ${report.replicasLeft} left`,
    `replicated   ${ms(report.settledMs)} after the return`,
    ...report.stories.map((story) => `trouble      ${story}`),
  ];
  return `${lines.join('\n')}\n`;
}
