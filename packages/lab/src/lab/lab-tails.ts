/**
 * `restitch lab tails`: clients stop reading in the middle of their last bytes, whose application is through with them. The
 * endpoint is drained, its host is taken away, and the clients read on: every byte and then the end must come, at every level.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RestitchError } from '@restitch/core';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import type { CrashLevel } from './crash-levels.js';
import { drainOthers } from './drain-others.js';
import type { Lab } from './lab.js';
import { LabAdmin } from './lab-admin.js';
import { setPartyLink } from './lab-network.js';
import { listServerSockets, tailPortOf } from './life-bed.js';
import type { ServerSocket } from '../load/lives/kinds-report.js';
import { LifeFleet } from './life-fleet.js';
import type { LifeRecord } from '../load/lives/life-kinds.js';
import type { LifeSlot } from '../load/lives/life-messages.js';
import { withLab } from './with-lab.js';

/** Options of `lab tails`. */
export interface LabTailsOptions {
  readonly sessions: number;
  readonly level: CrashLevel;
  readonly endpoints: number;
  readonly rttMs: number;
  readonly loss: number;
  readonly seed: number;
  readonly ipv6?: boolean;
  readonly json?: boolean;
}

/** The object `lab tails --json` prints. */
interface TailsReport {
  readonly sessions: number;
  readonly level: CrashLevel;
  /** Connections with bytes in their send queues at the endpoint before it was drained, and those bytes. */
  readonly tails: number;
  readonly tailBytes: number;
  /** The access point has said so, and after how long. */
  readonly isDrained: boolean;
  readonly drainMs: number;
  readonly movesCommitted: number;
  /** Connections with unacknowledged bytes that were still at the endpoint when it was cut off. */
  readonly leftBehind: number;
  /** Clients that lack something: all but those that are complete. */
  readonly lost: number;
  /** What became of the clients; the sum is `sessions`. */
  readonly complete: number;
  readonly early: number;
  readonly reset: number;
  readonly stuck: number;
  /** Missing at an early end, or in the middle. */
  readonly lostBytes: number;
  readonly doubledBytes: number;
  readonly wrongBytes: number;
  readonly stories: readonly string[];
}

const hourMs = 3_600_000;
const standLimitMs = 30_000;
const drainLimitMs = 60_000;
/** So that nothing of the cut endpoint is still on its way. */
const afterCutMs = 300;
/** Tails of some megabytes, and the longest standstill that a client puts up with. */
const readLimitMs = 40_000;

/** Runs the experiment in a laboratory of its own; 0 only if every client got everything. */
export async function runLabTails(env: CliEnv, options: LabTailsOptions): Promise<number> {
  const { endpoints, rttMs, seed, loss: lossRatio } = options;
  if (endpoints < 2) throw new RestitchError('usage', 'lab tails needs 2 endpoints');
  const progress = (text: string): void => env.err(`${text}\n`);
  const report = await withLab(
    env,
    { endpoints, rttMs, seed, lossRatio, ipv6: options.ipv6 === true, isProtected: true },
    async (lab) => {
      const result = await drainTails(lab, options, progress);
      if (!areTailsWhole(result)) progress(lab.lastLogLines(8));
      return result;
    },
  );
  env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatTails(report));
  return areTailsWhole(report) ? exitCodes.ok : exitCodes.failed;
}

/** True if nobody lacks anything, and the endpoint was drained. */
function areTailsWhole(report: TailsReport): boolean {
  const { isDrained, complete, sessions, lostBytes, doubledBytes, wrongBytes } = report;
  return isDrained && complete === sessions && lostBytes + doubledBytes + wrongBytes === 0;
}

async function drainTails(
  lab: Lab,
  options: LabTailsOptions,
  progress: (text: string) => void,
): Promise<TailsReport> {
  const fleet = await LifeFleet.start(lab);
  const admin = await LabAdmin.open(lab.plan);
  const [name = 'a', ...others] = lab.state.endpoints;
  try {
    // Only one takes connections while they come.
    await drainOthers(admin, others);
    fleet.keep(createSlots(lab, options), options.seed);
    await awaitStanding(fleet, options.sessions);
    for (const other of others) await admin.undrain(other);
    const full = (): ServerSocket[] =>
      [...listServerSockets(lab, name, options.level).values()].filter((s) => s.sendQueueBytes > 0);
    const sockets = full();
    const tailBytes = sockets.reduce((sum, socket) => sum + socket.sendQueueBytes, 0);
    progress(`${sockets.length} tails of ${tailBytes} bytes are in the kernel of ${name}`);
    const { lastSeq } = (await admin.status()).moves;
    const beganMs = performance.now();
    const isDrained = await Promise.race([
      admin.drain(name).then(
        () => true,
        () => false,
      ),
      sleep(drainLimitMs, false),
    ]);
    const drainMs = Math.round(performance.now() - beganMs);
    const left = full();
    progress(
      `${isDrained ? 'drained' : 'NOT drained'} after ${drainMs} ms, ${left.length} tails are still at ${name}`,
    );
    setPartyLink(lab.plan, lab.party(name), false);
    await sleep(afterCutMs);
    const records = await fleet.finish(readLimitMs);
    const moves = (await admin.moves(lastSeq)).filter((m) => m.outcome === 'committed').length;
    return toReport(options, records, {
      tails: sockets.length,
      tailBytes,
      isDrained,
      drainMs,
      movesCommitted: moves,
      leftBehind: left.length,
    });
  } finally {
    admin.close();
    await fleet.close();
  }
}

/** All have written everything in one go and ended; every second one's client has ended as well. */
function createSlots(lab: Lab, options: LabTailsOptions): LifeSlot[] {
  const { sessions, level, ipv6 = false } = options;
  return Array.from({ length: sessions }, (_, i) => ({
    kind: 'server-ends-with-backlog' as const,
    tag: `t${i}`,
    address: ipv6 ? lab.plan.vipIpv6 : lab.plan.vipIpv4,
    port: tailPortOf(level),
    plan: { stayMs: hourMs, closing: i % 2 === 0 ? ('server' as const) : ('both' as const) },
  }));
}

async function awaitStanding(fleet: LifeFleet, count: number): Promise<void> {
  const stepMs = 100;
  let standing = 0;
  for (let waitedMs = 0; waitedMs < standLimitMs; waitedMs += stepMs) {
    standing = (await fleet.look()).lives.filter((life) => life.isInPhase).length;
    if (standing === count) {
      // Their last bytes are written, and what the kernel takes of them is on its way.
      await sleep(500);
      return;
    }
    await sleep(stepMs);
  }
  throw new RestitchError(
    'deadline_exceeded',
    `${standing} of ${count} tails stand after ${standLimitMs} ms`,
  );
}

function toReport(
  options: LabTailsOptions,
  records: readonly LifeRecord[],
  figures: Pick<
    TailsReport,
    'tails' | 'tailBytes' | 'isDrained' | 'drainMs' | 'movesCommitted' | 'leftBehind'
  >,
): TailsReport {
  const count = (...ends: ReadonlyArray<LifeRecord['end']>): number =>
    records.filter((r) => ends.includes(r.end)).length;
  const sum = (of: (r: LifeRecord) => number): number => records.reduce((total, r) => total + of(r), 0);
  const bad = records.filter((r) => r.end !== 'complete' || r.lostBytes + r.doubledBytes + r.wrongBytes > 0);
  return {
    sessions: options.sessions,
    level: options.level,
    ...figures,
    lost: options.sessions - count('complete'),
    complete: count('complete'),
    early: count('early-eof'),
    reset: count('reset', 'refused'),
    stuck: count('stuck', 'ended'),
    lostBytes: sum((r) => r.lostBytes),
    doubledBytes: sum((r) => r.doubledBytes),
    wrongBytes: sum((r) => r.wrongBytes),
    stories: bad
      .map((r) => `${r.tag}: ${r.end} ${r.error ?? ''} after ${r.receivedBytes} bytes`.replace('  ', ' '))
      .slice(0, 10),
  };
}

function formatTails(report: TailsReport): string {
  const lines = [
    `tails        ${report.sessions} at level ${report.level}, ${report.tails} with ${report.tailBytes} bytes in the kernel`,
    `drain        ${report.isDrained ? 'done' : 'NOT DONE'} after ${report.drainMs} ms, ${report.movesCommitted} moves, ${report.leftBehind} tails left behind`,
    `clients      ${report.complete} complete, ${report.early} cut short, ${report.reset} reset, ${report.stuck} stuck`,
    `bytes        ${report.lostBytes} lost, ${report.doubledBytes} doubled, ${report.wrongBytes} wrong`,
    ...report.stories.map((story) => `trouble      ${story}`),
  ];
  return `${lines.join('\n')}\n`;
}
