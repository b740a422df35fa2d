/**
 * `restitch bench move`: what moving an idle session costs the two hosts, and how fast a server is drained.
 *
 * Sessions go to and fro between three endpoints by drains; the first rounds are for the compiler and do not count.
 */
import { performance } from 'node:perf_hooks';
import { RestitchError } from '@restitch/core';
import type { MoveAnswer } from '@restitch/wire';
import type { MoveCpu } from './measure-move-cpu.js';
import type { CliEnv } from '@restitch/console';
import { ClientFleet } from '../lab/client-fleet.js';
import { LabAdmin } from '../lab/lab-admin.js';
import { createClients } from '../lab/lab-move.js';
import { describeValues } from '../load/measure/percentiles.js';
import type { Distribution } from '../load/measure/percentiles.js';
import { matchSessions } from '../lab/move-load.js';
import { withLab } from '../lab/with-lab.js';
import { measureSocketCost } from './socket-cost.js';

/** How large the benchmark is. */
export interface MoveBenchOptions {
  readonly sessions: number;
  readonly rounds: number;
  readonly warmUpRounds: number;
}

/** What it found. */
export interface MoveBenchResult {
  readonly sessions: number;
  readonly moves: number;
  readonly notCommitted: number;
  /** Thread CPU time around freeze and around thaw of an idle connection, summed; microseconds. */
  readonly hostCpuUs: { readonly p50: number; readonly p99: number };
  /** The same in the endpoints of the drains below, with images, checks, sessions and the application. */
  readonly sessionCpuUs: Distribution;
  readonly sessionFreezeCpuUs: Distribution;
  readonly sessionThawCpuUs: Distribution;
  /** Median of the rounds: sessions moved from the first hold to the end of the last move, a second. */
  readonly drainPerSec: number;
  readonly drainPerSecBest: number;
  readonly moveMs: Distribution;
}

/** Enough sessions for a steady rate, enough rounds for a 99th percentile. */
export const defaultMoveBench: MoveBenchOptions = { sessions: 1000, rounds: 6, warmUpRounds: 4 };

const socketMoves = 4000;

/** Runs the benchmark in a laboratory of its own. */
export async function runMoveBench(
  env: CliEnv,
  options: MoveBenchOptions = defaultMoveBench,
): Promise<MoveBenchResult> {
  const network = { endpoints: 3, ipv6: false, rttMs: 0, lossRatio: 0 };
  const cost = await withLab(env, { ...network, isNetworkOnly: true }, (lab) =>
    measureSocketCost(lab, socketMoves),
  );
  return withLab(env, network, async (lab) => {
    const fleet = await ClientFleet.start(lab);
    const admin = await LabAdmin.open(lab.plan);
    try {
      const { sessions } = options;
      const opened = await fleet.open(createClients(lab, { sessions, rate: 0, payload: 64 }));
      await matchSessions(admin, opened);
      const [home = '', ...others] = lab.state.endpoints;
      await drainAll(admin, others);
      const rounds: MoveAnswer[][] = [];
      for (let round = 0; round < options.warmUpRounds + options.rounds; round++) {
        const before = (await admin.status()).moves.lastSeq;
        const startedMs = performance.now();
        await drainAll(admin, round % 2 === 0 ? [home] : others);
        const records = [...(await admin.moves(before))];
        const tookMs = Math.round(performance.now() - startedMs);
        env.err(`round ${round + 1}: ${records.length} moves in ${tookMs} ms\n`);
        rounds.push(records);
      }
      await fleet.finish(1000);
      return summarize(options, cost, rounds.slice(options.warmUpRounds));
    } finally {
      admin.close();
    }
  });
}

/** Empties endpoints and lets them take sessions again. */
async function drainAll(admin: LabAdmin, names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => admin.drain(name)));
  for (const name of names) await admin.undrain(name);
}

function summarize(
  options: MoveBenchOptions,
  cost: MoveCpu,
  rounds: readonly MoveAnswer[][],
): MoveBenchResult {
  const records = rounds.flat();
  const committed = records.filter((r) => r.outcome === 'committed');
  if (committed.length === 0) throw new RestitchError('internal', 'no session was moved');
  const figure = (name: string): number[] => committed.map((r) => r.figures[name] ?? 0);
  const freeze = figure('freezeCpuUs');
  const thaw = figure('thawCpuUs');
  const rates = rounds.map(ratePerSec).toSorted((a, b) => a - b);
  return {
    sessions: options.sessions,
    moves: committed.length,
    notCommitted: records.length - committed.length,
    hostCpuUs: { p50: cost.hostCpuUs.p50, p99: cost.hostCpuUs.p99 },
    sessionCpuUs: describeValues(freeze.map((us, i) => us + (thaw[i] ?? 0))),
    sessionFreezeCpuUs: describeValues(freeze),
    sessionThawCpuUs: describeValues(thaw),
    drainPerSec: rates[Math.floor(rates.length / 2)] ?? 0,
    drainPerSecBest: rates[rates.length - 1] ?? 0,
    moveMs: describeValues(committed.map((r) => r.moveMs)),
  };
}

function ratePerSec(records: readonly MoveAnswer[]): number {
  const held = records.filter((r) => r.holdNs > 0);
  if (held.length === 0) return 0;
  const firstNs = held.reduce((first, r) => Math.min(first, r.holdNs), Number.POSITIVE_INFINITY);
  const lastNs = held.reduce((last, r) => Math.max(last, r.endedNs), 0);
  return Math.round((held.length * 1e9) / (lastNs - firstNs));
}
