/**
 * `restitch lab burst` and `lab accept-queue`: clients connect at the instant of a death, or stand in the accept queue of
 * the endpoint that dies. Each must be connected and served, or be told soon: nobody is left with a connection of nobody.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RestitchError } from '@restitch/core';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { monotonicMs } from '../load/clients/monotonic.js';
import type { CrashLevel } from './crash-levels.js';
import { drainOthers } from './drain-others.js';
import type { Lab } from './lab.js';
import { LabAdmin } from './lab-admin.js';
import { listServerSockets, tailPortOf } from './life-bed.js';
import { LifeFleet } from './life-fleet.js';
import type { LifeRecord, MomentKind } from '../load/lives/life-kinds.js';
import { describeValues } from '../load/measure/percentiles.js';
import type { Distribution } from '../load/measure/percentiles.js';
import { strike } from './strike.js';
import { withLab } from './with-lab.js';

/** Faults that both experiments know. */
export const connectFaults = ['process', 'host', 'stop'] as const;

/** Options of both. */
export interface LabConnectsOptions {
  readonly connects: number;
  readonly fault: (typeof connectFaults)[number];
  readonly level: CrashLevel;
  readonly endpoints: number;
  readonly seed: number;
  readonly ipv6?: boolean;
  readonly json?: boolean;
}

/** What became of one client. */
export interface SettledClient {
  readonly end: LifeRecord['end'];
  /** Name of the error that ended it. */
  readonly error?: string;
  /** From the fault, or from its handshake if that was later, to its first byte or its end; null if it never connected. */
  readonly settledMs: number | null;
  /** From its SYN to its handshake. */
  readonly connectMs: number | null;
}

/** The object that both print with --json; times in milliseconds. */
interface ConnectsReport {
  readonly experiment: MomentKind;
  readonly connects: number;
  readonly fault: LabConnectsOptions['fault'];
  readonly level: CrashLevel;
  /** In the victim's accept queue when it was struck, as its kernel lists them. */
  readonly queued: number;
  readonly detectMs: number;
  /** detectMs and a second. */
  readonly limitMs: number;
  readonly served: number;
  readonly reset: number;
  /** Of those: ones that an application had answered; at level commit there are none. */
  readonly resetAccepted: number;
  readonly refused: number;
  readonly cutShort: number;
  readonly stuck: number;
  /** Settled later than `limitMs`. */
  readonly late: number;
  readonly settledMs: Distribution;
  readonly connectMs: Distribution;
  readonly clients: readonly SettledClient[];
}

/** What a client may need beyond the detection of the death. */
const graceMs = 1000;
/** Connects of a burst stand around the fault, more of them behind it. */
const burst = { beforeMs: 10, spreadMs: 50 } as const;
const queueLimitMs = 500;
const leadMs = 30;
const detectLimitMs = 15_000;
const settleMs = 25_000;

/** Runs one experiment in a laboratory of its own; 0 only if each client was served or told in time. */
export async function runLabConnects(
  env: CliEnv,
  kind: MomentKind,
  options: LabConnectsOptions,
): Promise<number> {
  const { endpoints, seed, ipv6 = false } = options;
  if (endpoints < 2) throw new RestitchError('usage', `lab ${kind} needs 2 endpoints`);
  const report = await withLab(
    env,
    { endpoints, seed, rttMs: 0, lossRatio: 0, ipv6, isProtected: true },
    async (lab) => {
      const result = await connectInDeath(lab, kind, options);
      if (!isSettled(result)) env.err(`${lab.lastLogLines(8)}\n`);
      return result;
    },
  );
  env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatConnects(report));
  return isSettled(report) ? exitCodes.ok : exitCodes.failed;
}

/** True if nobody was left alone. */
function isSettled(report: ConnectsReport): boolean {
  const { refused, cutShort, stuck, late, resetAccepted, level } = report;
  return refused + cutShort + stuck + late + (level === 'commit' ? resetAccepted : 0) === 0;
}

async function connectInDeath(
  lab: Lab,
  kind: MomentKind,
  options: LabConnectsOptions,
): Promise<ConnectsReport> {
  const fleet = await LifeFleet.start(lab);
  const admin = await LabAdmin.open(lab.plan);
  const [victim = 'a', ...others] = lab.state.endpoints;
  const process = lab.findProcess(victim);
  if (process === undefined) throw new RestitchError('internal', `endpoint ${victim} does not run`);
  try {
    const before = (await admin.takeOvers()).length;
    let strikeAtMs = monotonicMs() + leadMs;
    let queued = 0;
    if (kind === 'accept-queue') {
      // All connections go to the one that does not accept.
      await drainOthers(admin, others);
      globalThis.process.kill(process.pid, 'SIGSTOP');
      if (options.fault === 'stop') strikeAtMs = monotonicMs();
      fleet.visit(createVisits(lab, kind, options), { atMs: 0, spreadMs: 0, seed: options.seed });
      await fleet.look(queueLimitMs);
      for (const other of others) await admin.undrain(other);
      queued = [...listServerSockets(lab, victim, options.level).values()].filter(
        (s) => !s.isAccepted,
      ).length;
    } else {
      fleet.visit(createVisits(lab, kind, options), {
        atMs: strikeAtMs - burst.beforeMs,
        spreadMs: burst.spreadMs,
        seed: options.seed,
      });
    }
    await sleep(Math.max(0, strikeAtMs - monotonicMs()));
    const atMs = kind === 'accept-queue' && options.fault === 'stop' ? strikeAtMs : monotonicMs();
    await strike(lab, victim, options.fault);
    const detectMs = await awaitDetection(admin, victim, before);
    const records = await fleet.finish(settleMs);
    return toReport(kind, options, { records, atMs, detectMs, queued });
  } finally {
    admin.close();
    await fleet.close();
  }
}

function createVisits(
  lab: Lab,
  kind: MomentKind,
  options: LabConnectsOptions,
): Parameters<LifeFleet['visit']>[0] {
  const { connects, level, ipv6 = false } = options;
  return Array.from({ length: connects }, (_, i) => ({
    kind,
    tag: `v${i}`,
    address: ipv6 ? lab.plan.vipIpv6 : lab.plan.vipIpv4,
    port: tailPortOf(level),
  }));
}

async function awaitDetection(admin: LabAdmin, victim: string, before: number): Promise<number> {
  const stepMs = 20;
  for (let waitedMs = 0; waitedMs < detectLimitMs; waitedMs += stepMs) {
    const record = (await admin.takeOvers()).slice(before).find((r) => r.endpoint === victim);
    if (record !== undefined) return record.detectMs;
    await sleep(stepMs);
  }
  throw new RestitchError('deadline_exceeded', `${victim} is not declared dead after ${detectLimitMs} ms`);
}

/** How one client fared after a fault at `atMs`. */
export function settle(record: LifeRecord, atMs: number): SettledClient {
  const { connectedAtMs, openedAtMs, end } = record;
  const error = record.error === undefined ? {} : { error: record.error };
  if (connectedAtMs === undefined) return { end, ...error, settledMs: null, connectMs: null };
  const settledAtMs = record.firstByteAtMs ?? record.endedAtMs;
  return {
    end,
    ...error,
    settledMs: Math.max(0, settledAtMs - Math.max(atMs, connectedAtMs)),
    connectMs: connectedAtMs - openedAtMs,
  };
}

function toReport(
  experiment: MomentKind,
  options: LabConnectsOptions,
  run: { records: readonly LifeRecord[]; atMs: number; detectMs: number; queued: number },
): ConnectsReport {
  const { records, atMs, detectMs, queued } = run;
  const clients = records.map((r) => settle(r, atMs));
  const count = (...ends: ReadonlyArray<LifeRecord['end']>): number =>
    records.filter((r) => ends.includes(r.end)).length;
  const settled = clients.flatMap((c) => (c.settledMs === null ? [] : [c.settledMs]));
  const limitMs = detectMs + graceMs;
  return {
    experiment,
    connects: options.connects,
    fault: options.fault,
    level: options.level,
    queued,
    detectMs,
    limitMs,
    served: count('complete'),
    reset: count('reset'),
    resetAccepted: records.filter((r) => r.end === 'reset' && r.firstByteAtMs !== undefined).length,
    refused: count('refused'),
    cutShort: count('early-eof'),
    stuck: count('stuck', 'ended'),
    late: settled.filter((ms) => ms > limitMs).length,
    settledMs: describeValues(settled),
    connectMs: describeValues(clients.flatMap((c) => (c.connectMs === null ? [] : [c.connectMs]))),
    clients,
  };
}

function formatConnects(report: ConnectsReport): string {
  const ms = (d: Distribution): string => `p50 ${d.p50}  p99 ${d.p99}  max ${d.max} ms`;
  const { queued, refused, cutShort, stuck } = report;
  const lines = [
    `connects     ${report.connects} at level ${report.level}${report.experiment === 'accept-queue' ? `, ${queued} in the accept queue` : ''}`,
    `fault        ${report.fault}, detected after ${Math.round(report.detectMs)} ms`,
    `clients      ${report.served} served, ${report.reset} reset (${report.resetAccepted} had been answered), ${refused} refused, ${cutShort} cut short, ${stuck} stuck`,
    `connected    ${ms(report.connectMs)} after the SYN`,
    `settled      ${ms(report.settledMs)}, ${report.late} later than ${Math.round(report.limitMs)} ms`,
  ];
  return `${lines.join('\n')}\n`;
}
