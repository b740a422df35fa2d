/** `restitch lab move`: sessions of unmodified clients are moved at random under load, and every byte is checked. */
import { setTimeout as sleep } from 'node:timers/promises';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { ClientFleet } from './client-fleet.js';
import type { ClientSpec } from '../load/clients/driver-messages.js';
import { monotonicMs } from '../load/clients/monotonic.js';
import type { Lab } from './lab.js';
import { LabAdmin } from './lab-admin.js';
import { labPorts } from './lab-plan.js';
import { matchSessions, runMoveSeries } from './move-load.js';
import type { MoveSeries } from './move-load.js';
import { createMoveReport, isClean } from './move-report.js';
import type { MoveReport } from './move-report.js';
import { floodAccessPoint, killDaemonUnderLoad } from './move-trials.js';
import type { DaemonKillReport } from './move-trials.js';
import { createRoleSchedule } from './role-schedule.js';
import { createRandom } from '../load/seeded-random.js';
import { withLab } from './with-lab.js';

/** Options of `lab move`. */
export interface LabMoveOptions {
  readonly sessions: number;
  readonly moves: number;
  readonly endpoints: number;
  readonly payload: number;
  readonly rate: number;
  readonly movesPerSec: number;
  /** Moves before those that count: a fresh process compiles its code during the first hundreds. */
  readonly warmUpMoves?: number;
  readonly concurrency: number;
  readonly rttMs: number;
  readonly loss: number;
  readonly seed: number;
  readonly bulk?: boolean;
  /** Bytes a second of a bulk client each way, 0 for as fast as it goes. */
  readonly bulkRate?: number;
  readonly ipv6?: boolean;
  /** Of the sessions; `none` by default. */
  readonly level?: 'none' | 'commit';
  /** The client has received so much that the server does not know to be acknowledged. */
  readonly ahead?: number;
  /** SYNs from as many addresses, played into the steering program meanwhile. */
  readonly synFlood?: number;
  /** The daemon is killed half-way, with moves under way, and started again. */
  readonly killDaemon?: boolean;
  readonly json?: boolean;
}

/** What clients do; bytes and requests a second of each. */
export type ClientOptions = Pick<
  LabMoveOptions,
  'sessions' | 'payload' | 'rate' | 'bulk' | 'bulkRate' | 'ipv6' | 'ahead'
>;

/** 50 such clients fill half a core of echo; faster, and the machine itself is what is measured. */
export const defaultBulkRate = 1_000_000;

/** Traffic before the first move, so that medians, windows and neighbours have settled. */
const warmUpMs = 1000;
const coolDownMs = 300;

/** Acknowledgements under way for so long leave the server behind its client. */
const aheadMs = 100;

/** Runs the experiment in a laboratory of its own; 0 only when nothing was lost. */
export async function runLabMove(env: CliEnv, wanted: LabMoveOptions): Promise<number> {
  const options = wanted.ahead === undefined ? wanted : withClientAhead(wanted, wanted.ahead);
  const { endpoints, rttMs, seed, loss: lossRatio } = options;
  const report = await withLab(
    env,
    {
      endpoints,
      rttMs,
      seed,
      lossRatio,
      ipv6: options.ipv6 === true,
      isProtected: options.level === 'commit',
      ...(options.ahead === undefined ? {} : { upMs: aheadMs }),
    },
    (lab) => moveUnderLoad(lab, options, { progress: (text) => env.err(`${text}\n`), signal: env.signal }),
  );
  env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatReport(report));
  return isClean(report) && report.moves.committed > 0 ? exitCodes.ok : exitCodes.failed;
}

/** Bulk at the rate that fills a one-way delay of acknowledgements with `aheadBytes`. */
function withClientAhead(options: LabMoveOptions, aheadBytes: number): LabMoveOptions {
  return { ...options, bulk: true, bulkRate: (aheadBytes * 1000) / aheadMs, rttMs: aheadMs };
}

/** The experiment in a laboratory that is up. */
async function moveUnderLoad(
  lab: Lab,
  options: LabMoveOptions,
  run: { readonly progress: (text: string) => void; readonly signal: AbortSignal },
): Promise<MoveReport> {
  const fleet = await ClientFleet.start(lab);
  const opened = await fleet.open(createClients(lab, options));
  let admin = await LabAdmin.open(lab.plan);
  try {
    const sessions = await matchSessions(admin, opened);
    run.progress(`${opened.length} clients connected`);
    const ids = opened.map((client) => sessions.get(client.tag)?.id ?? '');
    const random = createRandom(options.seed);
    const warmUp = await warmUpMoves(admin, ids, random, options.warmUpMoves ?? 0);
    await sleep(warmUpMs);
    const startMs = monotonicMs();
    const roles = options.loss > 0 ? createRoleSchedule(startMs) : undefined;
    const moveSome = (moves: number): Promise<MoveSeries> =>
      runMoveSeries(admin, {
        ...options,
        moves,
        random,
        signal: run.signal,
        candidates: () => ids.filter((_, i) => roles?.isMoved(i, monotonicMs()) ?? true),
        onMove: (done) => {
          if (done % 100 === 0) run.progress(`${done} moves`);
        },
      });
    const flood = options.synFlood === undefined ? undefined : floodAccessPoint(lab, admin, options.synFlood);
    const half = options.killDaemon === true ? Math.floor(options.moves / 2) : options.moves;
    const series = await moveSome(half);
    let daemonKill: DaemonKillReport | undefined;
    if (options.killDaemon === true) {
      admin.close();
      const killed = await killDaemonUnderLoad(lab, await LabAdmin.open(lab.plan), ids, random);
      admin = killed.admin;
      daemonKill = killed.report;
      run.progress(`daemon killed and back after ${daemonKill.awayMs} ms`);
      mergeSeries(series, await moveSome(options.moves - half));
    }
    const floodReport = await flood;
    const endMs = monotonicMs();
    await sleep(coolDownMs + options.rttMs);
    const serverRtos = await countServerRtos(admin, series);
    const clients = await fleet.finish();
    return {
      ...createMoveReport({ ...series, clients, serverRtos, rttMs: options.rttMs }),
      warmUp,
      ...(roles === undefined ? {} : { rtoComparison: roles.compare(clients, endMs) }),
      ...(floodReport === undefined ? {} : { flood: floodReport }),
      ...(daemonKill === undefined ? {} : { daemonKill }),
    };
  } finally {
    admin.close();
    await fleet.close();
  }
}

/** Moves that are checked like all others, but whose times and outcomes stand apart. */
async function warmUpMoves(
  admin: LabAdmin,
  ids: readonly string[],
  random: () => number,
  moves: number,
): Promise<{ readonly moves: number; readonly notCommitted: number }> {
  const { signal } = new AbortController();
  const pace = { movesPerSec: 200, concurrency: 4 };
  const { records } = await runMoveSeries(admin, { ...pace, moves, random, signal, candidates: () => ids });
  const committed = records.filter((r) => r.outcome === 'committed').length;
  return { moves, notCommitted: moves - committed };
}

function mergeSeries(into: MoveSeries, more: MoveSeries): void {
  into.records.push(...more.records);
  for (const [code, n] of Object.entries(more.refused)) into.refused[code] = (into.refused[code] ?? 0) + n;
}

/** Specifications of the clients of an experiment. */
export function createClients(lab: Lab, options: ClientOptions): ClientSpec[] {
  return Array.from({ length: options.sessions }, (_, i) => ({
    tag: `c${i}`,
    kind: options.bulk === true ? 'bulk' : 'line',
    address: options.ipv6 === true ? lab.plan.vipIpv6 : lab.plan.vipIpv4,
    port: labPorts.echo,
    recordBytes: options.payload,
    recordsPerSec: options.rate,
    bytesPerSec: options.bulkRate ?? 0,
    ...(options.ahead === undefined ? {} : { maxAheadBytes: 1.5 * options.ahead }),
  }));
}

/** Sockets that live now, and those that were left by a later move, at their last count. */
async function countServerRtos(admin: LabAdmin, series: MoveSeries): Promise<number> {
  let rtos = 0;
  for (const endpoint of await admin.endpoints()) rtos += await admin.serverRtos(endpoint.name);
  const lastMove = new Map(series.records.map((r) => [r.sessionId, r.moveId]));
  for (const record of series.records) {
    if (lastMove.get(record.sessionId) !== record.moveId) rtos += record.figures['serverRtos'] ?? 0;
  }
  return rtos;
}

function formatReport(report: MoveReport): string {
  const { moves, bytes } = report;
  const ms = (d: MoveReport['gapMs']): string => `p50 ${d.p50}  p99 ${d.p99}  max ${d.max} ms`;
  const lines = [
    `sessions     ${report.sessions}`,
    `moves        ${moves.committed} committed, ${moves.reverted} reverted, ${moves.refused} refused, ${moves.failed} failed`,
    `bytes        ${bytes.sent} sent, ${bytes.received} received and checked`,
    `             ${bytes.lost} lost, ${bytes.duplicated} doubled, ${bytes.mismatched} mismatched`,
    `clients      ${report.clientResets} resets, ${report.clientRtos} retransmission timeouts`,
    `gap          ${ms(report.gapMs)}`,
    `  unmoved    ${ms(report.unmovedGapMs)}`,
    `move         ${ms(report.moveMs)}`,
    `prepare      ${ms(report.prepareMs)}`,
    `confirm      ${ms(report.confirmMs)}`,
    ...formatComparison(report.rtoComparison),
    `images       ${report.imageBytes.p50} bytes, largest ${report.imageBytes.max}`,
    ...formatProtected(report.protectedMoves),
    ...(report.flood === undefined ? [] : [`flood        ${JSON.stringify(report.flood)}`]),
    ...(report.daemonKill === undefined ? [] : [`daemon kill  ${JSON.stringify(report.daemonKill)}`]),
    ...Object.entries(report.failures).map(([what, n]) => `not moved    ${n} × ${what}`),
    ...report.stories.map((story) => `trouble      ${story}`),
  ];
  return `${lines.join('\n')}\n`;
}

function formatProtected(moves: MoveReport['protectedMoves']): string[] {
  if (moves === undefined) return [];
  const {
    toBuddy,
    toOthers,
    imageBytesToBuddy: near,
    deltaBytesToBuddy: delta,
    imageBytesToOthers: far,
  } = moves;
  return [
    `  to buddy   ${toBuddy} moves, p50 ${near.p50} bytes and a delta of ${delta.p50}, largest ${near.max} and ${delta.max}`,
    `  to others  ${toOthers} moves, p50 ${far.p50} bytes, largest ${far.max}`,
  ];
}

function formatComparison(comparison: MoveReport['rtoComparison']): string[] {
  if (comparison === undefined) return [];
  const { moved, unmoved, ratio, ratioUpper95 } = comparison;
  const rate = (r: typeof moved): string => `${r.per1000SessionSeconds.toFixed(2)} (${r.rtos})`;
  return [
    `client RTOs  per 1,000 session-seconds: moved ${rate(moved)}, unmoved ${rate(unmoved)}, ` +
      `ratio ${ratio.toFixed(2)}, upper 95 % bound ${ratioUpper95?.toFixed(2) ?? 'none'}`,
  ];
}
