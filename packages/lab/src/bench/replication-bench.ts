/**
 * What surviving a crash costs while nothing crashes: one upload, round trips and processor time at each level, taken in
 * turns on the same endpoint so that what else the machine does meets all alike.
 *
 * The client's blocking calls and each process have a processor of their own as far as there are any: owner on the
 * first, client and buddy on the second.
 */
import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { RestitchError, systemClock } from '@restitch/core';
import type { CliEnv } from '@restitch/console';
import type { EndpointAnswer } from '@restitch/wire';
import { LabAdmin } from '../lab/lab-admin.js';
import type { Lab } from '../lab/lab.js';
import { labPorts, protectedPorts } from '../lab/lab-plan.js';
import { programFile } from '../lab/program-file.js';
import { runTool } from '../lab/run-tool.js';
import { withLab } from '../lab/with-lab.js';
import { medianInterval } from './median-interval.js';
import type { PingRequest, UploadRequest } from './ping-pong.js';

/** The measured levels; each has a port for round trips and one for uploads. */
const levels = {
  none: { echo: protectedPorts.echoNone, sink: protectedPorts.sinkNone },
  periodic: { echo: protectedPorts.echoPeriodic, sink: protectedPorts.sinkPeriodic },
  commit: { echo: labPorts.echo, sink: protectedPorts.sink },
} as const;
type Level = keyof typeof levels;
const levelNames = Object.keys(levels) as Level[];

/** How much is measured. */
export interface ReplicationBenchOptions {
  readonly pairs: number;
  readonly uploadBytes: number;
  readonly roundTrips: number;
  readonly budgetMs: number;
}

/** Many short pairs rather than few long ones, as in the other benches; 45 s leave time to come up and go down. */
export const defaultReplicationBench: ReplicationBenchOptions = {
  pairs: 16,
  uploadBytes: 200_000_000,
  roundTrips: 1000,
  budgetMs: 45_000,
};

/** What a 95 % interval of a useful width needs. */
const leastPairs = 10;
/** The first uploads find code that is not compiled yet. */
const warmUpPairs = 2;
/** Figures of an endpoint come with its heartbeats. */
const heartbeatMs = 500;

/** The object that is printed; ratios and differences are of pairs, their medians with 95 % intervals. */
export interface ReplicationBenchResult extends ComparedLevel {
  readonly pairs: number;
  /** The same of level periodic; the figures beside it are of level commit. */
  readonly periodic: ComparedLevel;
  /** Processor seconds of owner and buddy together for a gigabit uploaded at level commit. */
  readonly cpuPerGbit: number;
  readonly levels: Readonly<Record<Level, LevelResult>>;
  /** As `endpoint list --json` shows it. */
  readonly endpoint: EndpointAnswer['replication'];
  readonly durationMs: number;
}

/** One level against level none. */
interface ComparedLevel {
  readonly uploadRatio: number;
  readonly uploadRatioInterval: readonly [number, number];
  readonly rttAddedUs: { readonly p50: number; readonly p99: number };
  readonly rttAddedUsInterval: {
    readonly p50: readonly [number, number];
    readonly p99: readonly [number, number];
  };
}

/** One level by itself; medians. */
interface LevelResult {
  readonly uploadGbps: number;
  readonly rttUs: { readonly p50: number; readonly p99: number };
  readonly ownerCpuPerGbit: number;
  readonly buddyCpuPerGbit: number;
}

interface Figures {
  readonly gbps: number[];
  readonly p50Us: number[];
  readonly p99Us: number[];
  readonly ownerCpu: number[];
  readonly buddyCpu: number[];
}

/** Runs in a laboratory of its own, within a minute. */
export async function runReplicationBench(
  env: CliEnv,
  options: ReplicationBenchOptions,
): Promise<ReplicationBenchResult> {
  const startMs = systemClock.monotonicMs();
  const network = { endpoints: 2, ipv6: false, rttMs: 0, lossRatio: 0, isProtected: true };
  return withLab(env, network, async (lab) => {
    const admin = await LabAdmin.open(lab.plan);
    try {
      // New sessions go to the other one; it goes on keeping replicas.
      await admin.drain(buddy);
    } finally {
      admin.close();
    }
    const client = startClient(lab);
    try {
      pin(lab, client);
      await once(client, 'message');
      const figures = await measure(lab, client, options, startMs);
      const endpoint = await readOwnerFigures(lab);
      return { ...toResult(figures, Math.round(systemClock.monotonicMs() - startMs)), endpoint };
    } finally {
      client.kill('SIGKILL');
    }
  });
}

const owner = 'a';
const buddy = 'b';

/** What the owner itself says of its protection: bytes, commit delay, added latency. */
async function readOwnerFigures(lab: Lab): Promise<EndpointAnswer['replication']> {
  await sleep(heartbeatMs);
  const admin = await LabAdmin.open(lab.plan);
  try {
    return (await admin.endpoints()).find((e) => e.name === owner)?.replication ?? null;
  } finally {
    admin.close();
  }
}

function startClient(lab: Lab): ChildProcess {
  return lab.start({
    name: 'clients',
    party: lab.plan.client,
    command: process.execPath,
    args: [programFile('bench/ping-pong'), 'ping'],
    hasChannel: true,
  });
}

/** With a single processor there is nothing to pin. */
function pin(lab: Lab, client: ChildProcess): void {
  if (cpus().length < 2) return;
  const places = { [owner]: 0, [buddy]: 1, 'access-point': 1 };
  for (const [name, cpu] of Object.entries(places)) pinProcess(lab.findProcess(name)?.pid, cpu);
  pinProcess(client.pid, 1);
}

function pinProcess(pid: number | undefined, cpu: number): void {
  if (pid !== undefined) runTool('taskset', ['--all-tasks', '--pid', '--cpu-list', String(cpu), String(pid)]);
}

async function measure(
  lab: Lab,
  client: ChildProcess,
  options: ReplicationBenchOptions,
  startMs: number,
): Promise<Record<Level, Figures>> {
  const fresh = (): Figures => ({ gbps: [], p50Us: [], p99Us: [], ownerCpu: [], buddyCpu: [] });
  const all = (): Record<Level, Figures> => ({ none: fresh(), periodic: fresh(), commit: fresh() });
  const figures = all();
  const warmUp = all();
  for (let i = -warmUpPairs; i < options.pairs; i++) {
    if (i >= leastPairs && systemClock.monotonicMs() - startMs > options.budgetMs) break;
    for (let j = 0; j < levelNames.length; j++) {
      const level = levelNames[(Math.abs(i) + j) % levelNames.length] as Level;
      await measureOne(lab, client, level, options, (i < 0 ? warmUp : figures)[level]);
    }
  }
  return figures;
}

async function measureOne(
  lab: Lab,
  client: ChildProcess,
  level: Level,
  options: ReplicationBenchOptions,
  into: Figures,
): Promise<void> {
  const address = lab.plan.vipIpv4;
  const { p50Us, p99Us } = await ask<{ p50Us: number; p99Us: number }>(client, {
    address,
    port: levels[level].echo,
    count: options.roundTrips,
  });
  const before = { owner: readCpuSeconds(lab, owner), buddy: readCpuSeconds(lab, buddy) };
  const bytes = options.uploadBytes;
  const { seconds } = await ask<{ seconds: number }>(client, { address, port: levels[level].sink, bytes });
  const gbit = (bytes * 8) / 1e9;
  into.gbps.push(gbit / seconds);
  into.p50Us.push(p50Us);
  into.p99Us.push(p99Us);
  into.ownerCpu.push((readCpuSeconds(lab, owner) - before.owner) / gbit);
  into.buddyCpu.push((readCpuSeconds(lab, buddy) - before.buddy) / gbit);
}

async function ask<T extends object>(client: ChildProcess, request: PingRequest | UploadRequest): Promise<T> {
  client.send(request);
  const [answer] = (await once(client, 'message')) as [T | { readonly error: string }];
  if ('error' in answer) throw new RestitchError('internal', `port ${request.port}: ${String(answer.error)}`);
  return answer;
}

/** User and system time of a process (proc(5), fields 14 and 15 of stat), to 10 ms. */
function readCpuSeconds(lab: Lab, name: string): number {
  const stat = readFileSync(`/proc/${lab.findProcess(name)?.pid ?? 0}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function toResult(
  figures: Record<Level, Figures>,
  durationMs: number,
): Omit<ReplicationBenchResult, 'endpoint'> {
  const { none, periodic, commit } = figures;
  const ofLevel = ({ gbps, p50Us, p99Us, ownerCpu, buddyCpu }: Figures): LevelResult => ({
    uploadGbps: round(medianInterval(gbps).median),
    rttUs: { p50: round(medianInterval(p50Us).median), p99: round(medianInterval(p99Us).median) },
    ownerCpuPerGbit: round(meanOf(ownerCpu)),
    buddyCpuPerGbit: round(meanOf(buddyCpu)),
  });
  const atCommit = ofLevel(commit);
  return {
    pairs: commit.gbps.length,
    ...compare(commit, none),
    periodic: compare(periodic, none),
    cpuPerGbit: round(atCommit.ownerCpuPerGbit + atCommit.buddyCpuPerGbit),
    levels: { none: ofLevel(none), periodic: ofLevel(periodic), commit: atCommit },
    durationMs,
  };
}

function compare(level: Figures, none: Figures): ComparedLevel {
  const paired = (key: keyof Figures, of: (a: number, b: number) => number) =>
    medianInterval(level[key].map((value, i) => of(value, none[key][i] ?? Number.NaN)));
  const ratio = paired('gbps', (a, b) => a / b);
  const p50 = paired('p50Us', (a, b) => a - b);
  const p99 = paired('p99Us', (a, b) => a - b);
  return {
    uploadRatio: round(ratio.median),
    uploadRatioInterval: [round(ratio.low), round(ratio.high)],
    rttAddedUs: { p50: round(p50.median), p99: round(p99.median) },
    rttAddedUsInterval: { p50: [round(p50.low), round(p50.high)], p99: [round(p99.low), round(p99.high)] },
  };
}

/** The clock ticks of 10 ms are coarse for one upload; their sum over all is not. */
function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

const round = (value: number): number => Math.round(value * 1000) / 1000;
