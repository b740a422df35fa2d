/**
 * `restitch bench scale`: a flow table with 100,000 entries and 20,000 live sessions, and whether a move still takes as
 * long as with 100.
 *
 * A process has at most 20,000 descriptors and an address 28,232 ports, so clients are spread over several of both.
 */
import type { MoveAnswer } from '@restitch/wire';
import { playHandshakes } from '../load/syn-flood.js';
import type { CliEnv } from '@restitch/console';
import { ClientFleet } from '../lab/client-fleet.js';
import type { OpenedClient } from '../lab/client-fleet.js';
import type { Lab } from '../lab/lab.js';
import { LabAdmin } from '../lab/lab-admin.js';
import { readCgroupMemoryBytes } from '../lab/lab-cgroup.js';
import { labPorts, planClientAddresses } from '../lab/lab-plan.js';
import { describeValues } from '../load/measure/percentiles.js';
import type { Distribution } from '../load/measure/percentiles.js';
import { matchSessions, runMoveSeries } from '../lab/move-load.js';
import { readResidentBytes } from '../lab/process-identity.js';
import { createRandom } from '../load/seeded-random.js';
import { withLab } from '../lab/with-lab.js';

/** How large the benchmark is. */
export interface ScaleBenchOptions {
  readonly sessions: number;
  readonly flows: number;
  readonly baseSessions: number;
  readonly moves: number;
  readonly endpoints: number;
  readonly maxMoveTimeRatio: number;
}

/** What it is to show: 100,000 entries, 20,000 sessions, move time at most half as long again as at 100. */
export const defaultScaleBench: ScaleBenchOptions = {
  sessions: 20_000,
  flows: 100_000,
  baseSessions: 100,
  moves: 300,
  endpoints: 4,
  maxMoveTimeRatio: 1.5,
};

/** What it found. */
export interface ScaleBenchResult {
  readonly sessions: number;
  readonly flows: number;
  /** Resident memory of all endpoint processes for each session, kernel sockets not counted. */
  readonly endpointBytesPerSession: number;
  readonly daemonBytesPerSession: number;
  /** What the endpoints' cgroups are charged for each session. */
  readonly cgroupBytesPerSession: number;
  readonly moveMs: { readonly base: Distribution; readonly full: Distribution };
  /** Median move at full size to median move at 100 sessions. */
  readonly moveTimeRatio: number;
  readonly committed: number;
  readonly notCommitted: number;
  readonly openedInMs: number;
  readonly clientResets: number;
}

const sessionsPerDriver = 5000;
const clientAddresses = 4;

/** Runs the benchmark in a laboratory of its own. */
export async function runScaleBench(env: CliEnv, options: ScaleBenchOptions): Promise<ScaleBenchResult> {
  const { endpoints } = options;
  const network = { endpoints, ipv6: false, rttMs: 0, lossRatio: 0, extraClientAddresses: clientAddresses };
  return withLab(env, network, async (lab) => {
    const admin = await LabAdmin.open(lab.plan);
    try {
      return await measureScale(env, lab, admin, options);
    } finally {
      admin.close();
    }
  });
}

async function measureScale(
  env: CliEnv,
  lab: Lab,
  admin: LabAdmin,
  options: ScaleBenchOptions,
): Promise<ScaleBenchResult> {
  const before = readMemory(lab);
  const fleets = [await ClientFleet.start(lab, 'clients-0')];
  const opened: OpenedClient[] = [...(await openIdle(lab, fleets[0], 0, options.baseSessions))];
  await moveSome(env, admin, opened, options.moves);
  const base = await moveSome(env, admin, opened, options.moves);
  const startedMs = performance.now();
  for (let from = options.baseSessions; from < options.sessions; from += sessionsPerDriver) {
    const fleet = await ClientFleet.start(lab, `clients-${fleets.length}`);
    fleets.push(fleet);
    opened.push(...(await openIdle(lab, fleet, from, Math.min(sessionsPerDriver, options.sessions - from))));
    env.err(`${opened.length} sessions\n`);
  }
  await matchSessions(admin, opened, 60_000);
  const openedInMs = Math.round(performance.now() - startedMs);
  const { flows } = (await admin.status()).dataplane;
  await playHandshakes({
    pinDirectory: lab.plan.pinDirectory,
    service: { address: lab.plan.vipIpv4, port: labPorts.echo },
    count: Math.max(0, options.flows - flows),
  });
  const full = await moveSome(env, admin, opened, options.moves);
  const after = readMemory(lab);
  const status = await admin.status();
  const clientResets = fleets.reduce((sum, fleet) => sum + fleet.totals.resets, 0);
  const baseMs = describeValues(base.map((r) => r.moveMs));
  const fullMs = describeValues(full.map((r) => r.moveMs));
  const records = [...base, ...full];
  const perSession = (key: keyof typeof after): number =>
    Math.round((after[key] - before[key]) / options.sessions);
  return {
    sessions: status.sessions,
    flows: status.dataplane.flows,
    endpointBytesPerSession: perSession('endpointBytes'),
    daemonBytesPerSession: perSession('daemonBytes'),
    cgroupBytesPerSession: perSession('cgroupBytes'),
    moveMs: { base: baseMs, full: fullMs },
    moveTimeRatio: Math.round((fullMs.p50 / baseMs.p50) * 1000) / 1000,
    committed: records.filter((r) => r.outcome === 'committed').length,
    notCommitted: records.filter((r) => r.outcome !== 'committed').length,
    openedInMs,
    clientResets,
  };
}

async function openIdle(
  lab: Lab,
  fleet: ClientFleet | undefined,
  from: number,
  count: number,
): Promise<readonly OpenedClient[]> {
  const addresses = planClientAddresses(clientAddresses);
  const clients = Array.from({ length: count }, (_, i) => ({
    tag: `c${from + i}`,
    kind: 'line' as const,
    address: lab.plan.vipIpv4,
    port: labPorts.echo,
    localAddress: addresses[(from + i) % addresses.length] ?? lab.plan.client.ipv4,
    recordBytes: 64,
    recordsPerSec: 0,
  }));
  return (await fleet?.open(clients)) ?? [];
}

async function moveSome(
  env: CliEnv,
  admin: LabAdmin,
  opened: readonly OpenedClient[],
  moves: number,
): Promise<MoveAnswer[]> {
  const sessions = await matchSessions(admin, opened, 60_000);
  const ids = [...sessions.values()].map((s) => s.id);
  const series = await runMoveSeries(admin, {
    moves,
    movesPerSec: 100,
    concurrency: 1,
    random: createRandom(1),
    signal: env.signal,
    candidates: () => ids,
  });
  return series.records;
}

function readMemory(lab: Lab): { endpointBytes: number; daemonBytes: number; cgroupBytes: number } {
  const resident = (name: string): number => readResidentBytes(lab.findProcess(name)?.pid ?? 0);
  const { endpoints } = lab.state;
  return {
    endpointBytes: endpoints.reduce((sum, name) => sum + resident(name), 0),
    daemonBytes: resident('access-point'),
    cgroupBytes: endpoints.reduce(
      (sum, name) => sum + readCgroupMemoryBytes(lab.cgroupOf(lab.party(name))),
      0,
    ),
  };
}
