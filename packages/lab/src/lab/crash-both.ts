/**
 * `restitch lab crash --fault both`: two endpoints die at once, so that some sessions lose owner and buddy. Those clients
 * must be told so, by a reset and soon, also those that only read; all others must not notice anything but a pause.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import type { SessionTakeOverAnswer } from '@restitch/wire';
import { ClientFleet } from './client-fleet.js';
import type { ClientReport, ClientSpec } from '../load/clients/driver-messages.js';
import { monotonicMs } from '../load/clients/monotonic.js';
import { tickBytes } from '../load/apps/ticks-app.js';
import { diesWith, holdersOf } from './holders.js';
import type { Lab } from './lab.js';
import { LabAdmin, clientKey } from './lab-admin.js';
import type { CrashReport, LabCrashOptions } from './lab-crash.js';
import { labPorts, protectedPorts } from './lab-plan.js';
import { findGapMs, toAnswerSeries, toPauseSeries } from '../load/measure/gaps.js';
import { describeValues } from '../load/measure/percentiles.js';
import type { Distribution } from '../load/measure/percentiles.js';
import { matchSessions } from './move-load.js';
import { isClean, sumBytes } from './move-report.js';
import { openLab } from './open-lab.js';
import { createRandom, pickOne } from '../load/seeded-random.js';
import { awaitHealthy, startEndpoint } from './start-parties.js';

/** What `lab crash --fault both --json` prints. `clientResets` and `bytes` are those of clients that had a copy left. */
interface BothReport extends CrashReport {
  /** Sessions whose two holders were killed, by the laboratory's own reckoning. */
  readonly doomed: number;
  /** Resets of those, named by the access point. */
  readonly honestResets: number;
  readonly honestResetsByKind: Readonly<Record<string, number>>;
  /** Resets of sessions that had a copy left, or that the access point does not name. */
  readonly wrongResets: number;
  /** Doomed clients that were neither served nor reset within `hangMs`. */
  readonly hung: number;
  /** From the fault to the client's own notice. */
  readonly resetMs: Distribution;
}

const warmUpMs = 1500;
/** A client that nobody serves knows it by then. */
const hangMs = 5000;
/** Detection, take-over and resets are over, and new replicas stand, before the next fault. */
const afterFaultMs = 3000;
const settleMs = 2000;
const drainMs = 15_000;
const outageWindowMs = 5000;

interface DoubleFault {
  readonly atMs: number;
  readonly doomed: ReadonlySet<string>;
  /** Clients whose owner died and whose buddy lives. */
  readonly orphaned: ReadonlySet<string>;
}

interface Evidence {
  readonly clients: readonly ClientReport[];
  readonly faults: readonly DoubleFault[];
  readonly lost: readonly SessionTakeOverAnswer[];
  readonly taken: number;
  readonly detectMs: readonly number[];
}

/** Runs it in a laboratory of its own; 0 only if every reset was an honest one and nobody hung. */
export async function runLabCrashBoth(env: CliEnv, options: LabCrashOptions): Promise<number> {
  const progress = (text: string): void => env.err(`${text}\n`);
  const { endpoints, rttMs, loss: lossRatio, seed, ipv6 = false } = options;
  const lab = await openLab(
    { endpoints, ipv6, rttMs, lossRatio, seed, isKept: false, isProtected: true },
    progress,
  );
  try {
    const report = judge(await killPairs(lab, options, progress));
    env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatBoth(report));
    const { wrongResets, hung, honestResets } = report;
    const isGood = isClean(report) && wrongResets + hung === 0 && honestResets > 0;
    if (!isGood) progress(lab.lastLogLines(12));
    return isGood ? exitCodes.ok : exitCodes.failed;
  } finally {
    await lab.down();
  }
}

async function killPairs(
  lab: Lab,
  options: LabCrashOptions,
  progress: (text: string) => void,
): Promise<Evidence> {
  const fleet = await ClientFleet.start(lab);
  const admin = await LabAdmin.open(lab.plan);
  const random = createRandom(options.seed);
  const faults: DoubleFault[] = [];
  try {
    await matchSessions(admin, await fleet.open(createClients(lab, options)));
    await sleep(warmUpMs);
    for (let kill = 0; kill < options.kills; kill++) {
      await sleep(random() * 200);
      const fault = await killTwo(lab, admin, random);
      faults.push(fault);
      progress(`fault ${kill + 1}: ${fault.doomed.size} sessions lost both holders`);
    }
    const clients = await fleet.finish(drainMs);
    const takeOvers = await admin.takeOvers();
    return {
      clients,
      faults,
      lost: (await admin.sessionTakeOvers()).filter((t) => t.outcome === 'lost'),
      taken: takeOvers.reduce((sum, t) => sum + t.taken, 0),
      detectMs: takeOvers.map((t) => t.detectMs),
    };
  } finally {
    admin.close();
    await fleet.close();
  }
}

/** Kills one that serves sessions and another at the same instant, waits, and brings both back. */
async function killTwo(lab: Lab, admin: LabAdmin, random: () => number): Promise<DoubleFault> {
  const { endpoints } = lab.state;
  const sessions = await admin.sessions();
  const serving = endpoints.filter((name) => sessions.some((s) => s.endpoint === name));
  const first = pickOne(random, serving) ?? 'a';
  const second =
    pickOne(
      random,
      endpoints.filter((name) => name !== first),
    ) ?? 'b';
  const dead = [first, second];
  const held = holdersOf(sessions, endpoints);
  const atMs = monotonicMs();
  for (const name of dead) process.kill(lab.findProcess(name)?.pid ?? 0, 'SIGKILL');
  await Promise.all(dead.map((name) => lab.stop(name, 'SIGKILL')));
  await sleep(afterFaultMs);
  await Promise.all(dead.map((name) => startEndpoint(lab, lab.party(name), { isProtected: true })));
  await awaitHealthy(lab, endpoints);
  await sleep(settleMs);
  const doomed = held.filter((h) => diesWith(h, dead));
  const orphaned = held.filter((h) => dead.includes(h.owner) && !diesWith(h, dead));
  return {
    atMs,
    doomed: new Set(doomed.map((h) => h.client)),
    orphaned: new Set(orphaned.map((h) => h.client)),
  };
}

/** A third each of request/response, bulk both ways, and reading only. */
function createClients(lab: Lab, options: LabCrashOptions): ClientSpec[] {
  const kinds = ['line', 'read', 'bulk'] as const;
  return Array.from({ length: options.sessions }, (_, i) => {
    const kind = kinds[i % 3] ?? 'line';
    return {
      tag: `c${i}`,
      kind,
      address: options.ipv6 === true ? lab.plan.vipIpv6 : lab.plan.vipIpv4,
      port: kind === 'read' ? protectedPorts.ticks : labPorts.echo,
      recordBytes: tickBytes,
      recordsPerSec: 50,
      bytesPerSec: 300_000,
    };
  });
}

function judge(evidence: Evidence): BothReport {
  const { clients, faults, lost } = evidence;
  const keyOf = (c: ClientReport): string => clientKey(c.localAddress, c.localPort);
  const named = new Set(lost.map(({ flow }) => clientKey(flow.client.address, flow.client.port)));
  // The last one before its end: a session whose new replica was late may outlive one fault and fall with the next.
  const faultOf = (c: ClientReport): DoubleFault | undefined =>
    faults.findLast((f) => f.doomed.has(keyOf(c)) && (c.brokenBy === undefined || f.atMs <= c.closedAtMs));
  const isReset = (c: ClientReport): boolean => c.brokenBy === 'ECONNRESET' || c.brokenBy === 'EPIPE';
  const isHonest = (c: ClientReport): boolean => {
    const fault = faultOf(c);
    return fault !== undefined && isReset(c) && named.has(keyOf(c)) && c.closedAtMs - fault.atMs <= hangMs;
  };
  const honest = clients.filter(isHonest);
  const others = clients.filter((c) => !isHonest(c));
  const outages = new Map<string, number[]>();
  for (const client of others) {
    const series = (client.kind === 'line' ? toAnswerSeries : toPauseSeries)(client.samples);
    for (const fault of faults.filter((f) => f.orphaned.has(keyOf(client)))) {
      const gapMs = findGapMs(series, fault.atMs, fault.atMs + outageWindowMs);
      if (gapMs !== undefined) outages.set(client.kind, [...(outages.get(client.kind) ?? []), gapMs]);
    }
  }
  return {
    sessions: clients.length,
    fault: 'both',
    kills: faults.length,
    taken: evidence.taken,
    lost: lost.length,
    bytes: sumBytes(others),
    clientResets: others.reduce((sum, c) => sum + c.resets, 0),
    clientRtos: clients.reduce((sum, c) => sum + c.rtos, 0),
    detectMs: describeValues(evidence.detectMs),
    outageMs: describeValues([...outages.values()].flat()),
    outageByKindMs: Object.fromEntries([...outages].map(([kind, values]) => [kind, describeValues(values)])),
    stories: others.flatMap((c) => (c.trouble === undefined ? [] : [`${c.tag}: ${c.trouble}`])).slice(0, 10),
    doomed: faults.reduce((sum, f) => sum + f.doomed.size, 0),
    honestResets: honest.length,
    honestResetsByKind: countKinds(honest),
    wrongResets: others.filter((c) => c.brokenBy !== undefined).length,
    hung: clients.filter((c) => faultOf(c) !== undefined && isHung(c, faultOf(c)?.atMs ?? 0)).length,
    resetMs: describeValues(honest.map((c) => c.closedAtMs - (faultOf(c)?.atMs ?? 0))),
  };
}

/** Neither served to the end nor told in time. */
function isHung(client: ClientReport, faultAtMs: number): boolean {
  if (client.brokenBy !== undefined) return client.closedAtMs - faultAtMs > hangMs;
  return client.lostBytes > 0;
}

function countKinds(clients: readonly ClientReport[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of clients) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

function formatBoth(report: BothReport): string {
  const kinds = Object.entries(report.honestResetsByKind).map(([kind, n]) => `${n} ${kind}`);
  const { bytes } = report;
  const lines = [
    `sessions     ${report.sessions}`,
    `faults       ${report.kills} × two endpoints at once: ${report.taken} sessions taken over, ${report.lost} lost`,
    `resets       ${report.honestResets} honest (${kinds.join(', ')}) of ${report.doomed} that lost both holders`,
    `             p50 ${report.resetMs.p50}  max ${report.resetMs.max} ms after the fault`,
    `             ${report.wrongResets} wrong, ${report.hung} hung`,
    `others       ${bytes.lost} bytes lost, ${bytes.duplicated} doubled, ${bytes.mismatched} mismatched`,
    `outage       p50 ${report.outageMs.p50}  p99 ${report.outageMs.p99}  max ${report.outageMs.max} ms`,
    ...report.stories.map((story) => `trouble      ${story}`),
  ];
  return `${lines.join('\n')}\n`;
}
