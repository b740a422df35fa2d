/** `restitch lab crash`: endpoints are killed, cut or stopped under load at random instants, and every byte is checked. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Flow } from '@restitch/core';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import type { TakeOverAnswer } from '@restitch/wire';
import { runLabCrashBoth } from './crash-both.js';
import { runLabCrashBuddy } from './crash-buddy.js';
import { runLabCrashDaemon } from './crash-daemon.js';
import { ClientFleet } from './client-fleet.js';
import { describeConnections, keepEvidence } from './crash-evidence.js';
import type { ClientReport, ClientSpec } from '../load/clients/driver-messages.js';
import type { Lab } from './lab.js';
import { LabAdmin, clientKey } from './lab-admin.js';
import { setPartyLink } from './lab-network.js';
import { forgeFrames } from './forge-frames.js';
import type { Forgery } from './forge-frames.js';
import { findGapMs, toAnswerSeries, toPauseSeries } from '../load/measure/gaps.js';
import { describeValues } from '../load/measure/percentiles.js';
import type { Distribution } from '../load/measure/percentiles.js';
import { matchSessions } from './move-load.js';
import { isClean, sumBytes } from './move-report.js';
import type { ByteCounts, MoveCounts } from './move-report.js';
import type { FencedCount } from '../load/measure/sources.js';
import { openLab } from './open-lab.js';
import {
  type CrashLevel,
  echoPortOf,
  formatPromised,
  isPromiseKept,
  type PromisedResets,
  recordsPerSecOf,
  splitPromised,
} from './crash-levels.js';
import {
  areLivesKept,
  awaitReplicated,
  describeLives,
  formatLives,
  livesOf,
  startLives,
} from './crash-lives.js';
import type { LivesReport } from './crash-lives.js';
import { monotonicMs } from '../load/clients/monotonic.js';
import { terminate } from './lab-endpoint.js';
import { isTailPort } from './life-bed.js';
import type { LifeBed } from './life-bed.js';
import type { LifeKind } from '../load/lives/life-kinds.js';
import type { LifeRun } from '../load/lives/kinds-report.js';
import { signalProcess } from './process-identity.js';
import { createRandom, pickOne } from '../load/seeded-random.js';
import { strike } from './strike.js';
import { ownersByPort, SourceWatch } from './source-watch.js';
import { agentNameOf, awaitHealthy, startAgent, startEndpoint } from './start-parties.js';

/** What is done to an endpoint. */
export const crashFaults = ['process', 'host', 'stop', 'term', 'agent', 'buddy', 'both', 'daemon'] as const;
/** What is done to an endpoint. */
export type CrashFault = (typeof crashFaults)[number];

/** Options of `lab crash`. */
export interface LabCrashOptions {
  readonly sessions: number;
  readonly kills: number;
  readonly endpoints: number;
  readonly fault: CrashFault;
  /** Endpoints are hit in turn and not at random. */
  readonly isRolling?: boolean;
  readonly level?: CrashLevel;
  /** Half of the sessions are phase clients of these kinds; left out: all kinds, from 24 sessions on. */
  readonly kinds?: readonly LifeKind[];
  readonly rttMs: number;
  readonly loss: number;
  readonly seed: number;
  readonly ipv6?: boolean;
  /** Sends frames in the old owner's name after a `stop`, to show that the check of `fencedBytes` works. */
  readonly forge?: Forgery;
  readonly json?: boolean;
}

/** The object `lab crash --json` prints; times in milliseconds. */
export interface CrashReport extends Partial<LivesReport> {
  readonly sessions: number;
  readonly fault: CrashFault;
  readonly kills: number;
  /** Sessions that got another owner, and sessions nobody could go on with. */
  readonly taken: number;
  readonly lost: number;
  /** Those of phase clients among them: opened a moment before the death, and judged by what the client had been promised. */
  readonly lostLives?: number;
  /** At levels below commit: of the clients that were not reset as promised; so `clientResets` and `stories`. */
  readonly bytes: ByteCounts;
  readonly clientResets: number;
  readonly clientRtos: number;
  /** As `lab move` counts: a take-over is a move that nobody planned. */
  readonly moves?: MoveCounts;
  /** From the verdict of death to the last session served again, of each dead endpoint. */
  readonly moveMs?: Distribution;
  /** At levels below commit. */
  readonly promised?: PromisedResets;
  /** From the endpoint's last word to the take-over. */
  readonly detectMs: Distribution;
  /** Longest pause of each client that hit a fault, less what it is used to. */
  readonly outageMs: Distribution;
  readonly outageByKindMs: Readonly<Record<string, Distribution>>;
  /** With `term`: from the signal to the end of the process, and how many had to be killed. */
  readonly exitMs?: Distribution;
  readonly exitsForced?: number;
  readonly stories: readonly string[];
  /** Captured at the client: what came from an old owner after its take-over. Only with faults that leave it running. */
  readonly fencedBytes?: number;
  readonly fencedFrames?: number;
}

/**
 * What a machine with two cores carries for all clients, endpoints and the access point, with room left for a restart:
 * a starved machine shows its own pauses, not those of the take-over.
 */
const recordsPerSecAtMost = 2400;
const bytesPerSecAtMost = 8_000_000;

/** Fault and all that follows from it must fit between two faults. */
const afterFaultMs = 1500;
/** A stopped process whose agent answers is given ten heartbeats before it is declared dead. */
const stoppedMs = 4000;
const warmUpMs = 1500;
/** Long, so that a slow answer is told from a lost one. */
const drainMs = 15_000;
/** Who is not answered this long before the end of the drain is stuck: its connection is looked at while it stands. */
const beforeEndMs = 3000;
/** A pause is looked for this long after a fault. */
const outageWindowMs = 5000;

interface FaultNote {
  readonly atMs: number;
  /** With `term`; undefined if the process did not end by itself. */
  readonly exitMs?: number | undefined;
  /** Clients whose session was on the endpoint. */
  readonly clients: ReadonlySet<string>;
}

/** Runs the experiment in a laboratory of its own; 0 only when no client noticed anything but a pause. */
export async function runLabCrash(env: CliEnv, options: LabCrashOptions): Promise<number> {
  if (options.fault === 'both') return runLabCrashBoth(env, options);
  if (options.fault === 'buddy') return runLabCrashBuddy(env, options);
  if (options.fault === 'daemon') return runLabCrashDaemon(env, options);
  const progress = (text: string): void => env.err(`${text}\n`);
  const { endpoints, rttMs, loss: lossRatio, seed } = options;
  const ipv6 = options.ipv6 === true;
  const lab = await openLab(
    { endpoints, ipv6, rttMs, lossRatio, seed, isKept: false, isProtected: true },
    progress,
  );
  try {
    const { report, connections } = await crashUnderLoad(lab, options, progress);
    env.out(options.json === true ? `${JSON.stringify(report)}\n` : formatReport(report));
    const isFenced = (report.fencedBytes ?? 0) === 0;
    const isGood = isFenced && isKept(report, options.fault) && areLivesKept(report);
    if (!isGood) {
      progress(lab.lastLogLines(12));
      progress(`evidence: ${keepEvidence(lab, connections)}`);
    }
    return isGood ? exitCodes.ok : exitCodes.failed;
  } catch (error) {
    keepEvidence(lab);
    throw error;
  } finally {
    await lab.down();
  }
}

function isKept(report: CrashReport, fault: CrashFault): boolean {
  const { promised } = report;
  if (fault === 'term')
    return isClean(report) && report.exitsForced === 0 && (report.moves?.committed ?? 0) > 0;
  if (promised !== undefined) return isClean(report) && isPromiseKept(promised, fault);
  const lost = report.lost - (report.lostLives ?? 0);
  return isClean(report) && lost === 0 && (report.taken > 0 || fault === 'agent');
}

async function crashUnderLoad(
  lab: Lab,
  options: LabCrashOptions,
  progress: (text: string) => void,
): Promise<{ readonly report: CrashReport; readonly connections: string | undefined }> {
  const fleet = await ClientFleet.start(lab);
  const admin = await LabAdmin.open(lab.plan);
  // A killed process is silent by nature; the others' hosts go on.
  const isWatched = options.fault === 'stop' || options.fault === 'host';
  const watch = isWatched ? await SourceWatch.start(lab, options.ipv6 === true) : undefined;
  const random = createRandom(options.seed);
  const notes: FaultNote[] = [];
  let lives: LifeBed | undefined;
  try {
    const opened = await fleet.open(createClients(lab, options));
    const first = await matchSessions(admin, opened);
    lives = await startLives(lab, options);
    progress(`${opened.length} clients connected`);
    await sleep(warmUpMs);
    const { lastSeq } = (await admin.status()).moves;
    for (let kill = 0; kill < options.kills; kill++) {
      await sleep(random() * 200);
      const turn = lab.state.endpoints[kill % lab.state.endpoints.length];
      const victim = options.isRolling === true ? turn : undefined;
      notes.push(await oneFault(lab, admin, { ...options, random, victim, lives }));
      if ((kill + 1) % 5 === 0) progress(`${kill + 1} faults`);
    }
    await sleep(500 + options.rttMs);
    let connections: string | undefined;
    const look = setTimeout(() => (connections = describeConnections(lab)), drainMs - beforeEndMs);
    const clients = await fleet.finish(drainMs);
    clearTimeout(look);
    const sessionTakeOvers = await admin.sessionTakeOvers();
    const owners = ownersByPort([...first.values()], sessionTakeOvers);
    const fenced = await watch?.finish((port) => owners.get(port) ?? []);
    const run = await lives?.finish(drainMs);
    const committed = (await admin.moves(lastSeq)).filter((m) => m.outcome === 'committed').length;
    const takeOvers = await admin.takeOvers();
    const lostLives = sessionTakeOvers.filter(
      (t) => t.outcome === 'lost' && isTailPort(t.flow.vip.port),
    ).length;
    const report = toReport(options, { clients, notes, takeOvers, lostLives, fenced, run, committed });
    return { report, connections };
  } finally {
    admin.close();
    await fleet.close();
    await lives?.close();
    await watch?.close();
  }
}

/** Hits an endpoint that serves sessions, waits, and brings it back. */
async function oneFault(
  lab: Lab,
  admin: LabAdmin,
  options: LabCrashOptions & {
    readonly random: () => number;
    readonly victim: string | undefined;
    readonly lives: LifeBed | undefined;
  },
): Promise<FaultNote> {
  const { fault, lives, random } = options;
  if (lives !== undefined) await awaitReplicated(admin);
  const sessions = await admin.sessions();
  const serving = [...new Set(sessions.map((s) => s.endpoint))].sort();
  const name =
    options.victim ?? (await lives?.chooseVictim(serving, random)) ?? pickOne(random, serving) ?? 'a';
  const aim = fault === 'agent' ? undefined : await lives?.aim(name);
  // Phase clients may have the port of another client, to another port of ours.
  const here = sessions.filter((s) => s.endpoint === name && !isTailPort(s.flow.vip.port));
  const clients = new Set(here.map((s) => clientKey(s.flow.client.address, s.flow.client.port)));
  if (aim !== undefined) await sleep(Math.max(0, aim.atMs - monotonicMs()));
  const atMs = monotonicMs();
  if (aim !== undefined) lives?.note(aim, atMs, fault !== 'term');
  const exitMs = await strikeAndHeal(lab, name, { ...options, flows: here.map((s) => s.flow) });
  await awaitHealthy(lab, lab.state.endpoints);
  await sleep(300);
  return { atMs, clients, exitMs };
}

/** Does it to the endpoint, and undoes it; with `term`, how long the process took to end by itself. */
async function strikeAndHeal(
  lab: Lab,
  name: string,
  options: Pick<LabCrashOptions, 'fault' | 'forge'> & { readonly flows: readonly Flow[] },
): Promise<number | undefined> {
  const party = lab.party(name);
  const process = lab.findProcess(name);
  switch (options.fault) {
    case 'process':
      await strike(lab, name, 'process');
      await sleep(afterFaultMs);
      await startEndpoint(lab, party, { isProtected: true });
      break;
    case 'host':
      await strike(lab, name, 'host');
      await sleep(afterFaultMs);
      setPartyLink(lab.plan, party, true);
      break;
    case 'stop':
      await strike(lab, name, 'stop');
      await sleep(stoppedMs);
      if (options.forge !== undefined) forgeFrames(party, options.flows, options.forge);
      if (process !== undefined) signalProcess(process, 'SIGCONT');
      break;
    case 'term': {
      const tookMs = await terminate(lab, name).catch(() => undefined);
      if (tookMs === undefined) await lab.stop(name, 'SIGKILL');
      await sleep(afterFaultMs);
      await startEndpoint(lab, party, { isProtected: true });
      return tookMs;
    }
    case 'buddy':
    case 'both':
    case 'daemon':
      // Experiments of their own.
      break;
    case 'agent':
      await lab.stop(agentNameOf(party), 'SIGKILL');
      await startAgent(lab, party);
      await sleep(300);
      break;
  }
  return undefined;
}

/** Part of the whole rate that each of `clients` has if the machine carries `atMost` of them at that rate. */
function share(atMost: number, clients: number): number {
  return Math.min(1, atMost / clients);
}

/** A third each of request/response, and bulk both ways; the bulk ones at a rate the machine can replicate. */
function createClients(lab: Lab, options: LabCrashOptions): ClientSpec[] {
  const count = options.sessions - livesOf(options);
  // Each side of the load gets its part of the machine.
  const part = count / options.sessions;
  return Array.from({ length: count }, (_, i) => ({
    tag: `c${i}`,
    kind: i % 4 === 3 ? 'bulk' : 'line',
    address: options.ipv6 === true ? lab.plan.vipIpv6 : lab.plan.vipIpv4,
    port: echoPortOf(options.level),
    recordBytes: 64,
    recordsPerSec: recordsPerSecOf(options.level, i) * share((part * recordsPerSecAtMost) / 50, count * 0.75),
    bytesPerSec: 500_000 * share((part * bytesPerSecAtMost) / 500_000, count * 0.25),
  }));
}

function toReport(
  options: LabCrashOptions,
  run: {
    clients: readonly ClientReport[];
    notes: readonly FaultNote[];
    takeOvers: readonly TakeOverAnswer[];
    lostLives: number;
    fenced: FencedCount | undefined;
    run: LifeRun | undefined;
    committed: number;
  },
): CrashReport {
  const { clients, notes, takeOvers, fenced } = run;
  const isTerm = options.fault === 'term';
  const byKind = new Map<string, number[]>();
  const hit = new Set(notes.flatMap((note) => [...note.clients]));
  // Who is told to leave takes its sessions along, at every level.
  const { others, promised } = splitPromised(isTerm ? 'commit' : options.level, clients, hit);
  for (const client of others) {
    const series = (client.kind === 'line' ? toAnswerSeries : toPauseSeries)(client.samples);
    const key = clientKey(client.localAddress, client.localPort);
    for (const note of notes) {
      if (!note.clients.has(key)) continue;
      const gapMs = findGapMs(series, note.atMs, note.atMs + outageWindowMs);
      if (gapMs !== undefined) byKind.set(client.kind, [...(byKind.get(client.kind) ?? []), gapMs]);
    }
  }
  const sum = (of: (r: TakeOverAnswer) => number): number => takeOvers.reduce((total, r) => total + of(r), 0);
  return {
    sessions: clients.length + livesOf(options),
    fault: options.fault,
    kills: notes.length,
    taken: sum((r) => r.taken),
    lost: sum((r) => r.lost),
    lostLives: run.lostLives,
    bytes: sumBytes(others),
    clientResets: others.reduce((total, c) => total + c.resets, 0),
    ...(promised === undefined ? {} : { promised }),
    clientRtos: clients.reduce((total, c) => total + c.rtos, 0),
    moves: {
      committed: isTerm ? run.committed : sum((r) => r.taken),
      reverted: 0,
      refused: 0,
      failed: sum((r) => r.lost),
    },
    moveMs: describeValues(takeOvers.map((r) => r.doneMs)),
    detectMs: describeValues(takeOvers.map((r) => r.detectMs)),
    outageMs: describeValues([...byKind.values()].flat()),
    outageByKindMs: Object.fromEntries([...byKind].map(([kind, values]) => [kind, describeValues(values)])),
    stories: others.flatMap((c) => (c.trouble === undefined ? [] : [`${c.tag}: ${c.trouble}`])).slice(0, 10),
    ...(isTerm
      ? {
          exitMs: describeValues(notes.flatMap((n) => (n.exitMs === undefined ? [] : [n.exitMs]))),
          exitsForced: notes.filter((n) => n.exitMs === undefined).length,
        }
      : {}),
    ...(fenced === undefined ? {} : { fencedBytes: fenced.bytes, fencedFrames: fenced.frames }),
    ...describeLives(run.run, options, clients),
  };
}

function formatReport(report: CrashReport): string {
  const ms = (d: Distribution): string => `p50 ${d.p50}  p99 ${d.p99}  max ${d.max} ms`;
  const { bytes } = report;
  const lines = [
    `sessions     ${report.sessions}`,
    `faults       ${report.kills} × ${report.fault}: ${report.taken} sessions taken over, ${report.lost} lost`,
    `bytes        ${bytes.sent} sent, ${bytes.received} received and checked`,
    `             ${bytes.lost} lost, ${bytes.duplicated} doubled, ${bytes.mismatched} mismatched`,
    `clients      ${report.clientResets} resets, ${report.clientRtos} retransmission timeouts`,
    ...formatPromised(report.promised),
    `detection    ${ms(report.detectMs)}`,
    `outage       ${ms(report.outageMs)}`,
    ...(report.fencedBytes === undefined
      ? []
      : [`old owners   ${report.fencedBytes} bytes after their take-over`]),
    ...Object.entries(report.outageByKindMs).map(([kind, d]) => `  ${kind.padEnd(10)} ${ms(d)}`),
    ...formatLives(report),
    ...report.stories.map((story) => `trouble      ${story}`),
  ];
  return `${lines.join('\n')}\n`;
}
