/** Phase clients in `lab crash`: how many there are, what the report says of them, and when they fail a run. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientReport } from '../load/clients/driver-messages.js';
import type { Lab } from './lab.js';
import type { LabAdmin } from './lab-admin.js';
import type { LabCrashOptions } from './lab-crash.js';
import { LifeBed } from './life-bed.js';
import {
  countKinds,
  findLifeFaults,
  findRareKinds,
  formatKinds,
  sumKinds,
} from '../load/lives/kinds-report.js';
import type { KindsReport, LifeRun } from '../load/lives/kinds-report.js';
import { lifeKinds } from '../load/lives/life-kinds.js';
import type { LifeKind } from '../load/lives/life-kinds.js';

/** What a report says of phase clients. */
export interface LivesReport {
  readonly kinds: KindsReport;
  /** Clean ends before what was announced had come, of all clients. */
  readonly earlyEofs: number;
  /** Of connections that an application had answered. */
  readonly acceptedResets: number;
  /** What no promise allows, the first of it in words. */
  readonly kindFaults: number;
  readonly kindStories: readonly string[];
  /** Kinds that were hardly in their phase at faults; told, and failing, only of a run of full size. */
  readonly rareKinds: readonly string[];
}

/** Fewer sessions than that are too few for all kinds. */
const sessionsAtLeast = 24;
/** Of a run whose counts are a proof. */
const fullSize = { sessions: 200, kills: 20 } as const;
const storiesAtMost = 20;
/** Two looks apart by this see the same new session. */
const lookMs = 200;
const replicatedLimitMs = 5000;

/** How many of the sessions are phase clients. */
export function livesOf(options: LabCrashOptions): number {
  const isWanted =
    options.kinds === undefined ? options.sessions >= sessionsAtLeast : options.kinds.length > 0;
  return isWanted ? Math.floor(options.sessions / 2) : 0;
}

/** Connects them. */
export function startLives(lab: Lab, options: LabCrashOptions): Promise<LifeBed | undefined> {
  const { level = 'commit', seed, ipv6 = false } = options;
  return LifeBed.start(lab, { count: livesOf(options), kinds: kindsOf(options), level, seed, ipv6 });
}

/** Their part of the report. `others`: the clients that only talk. */
export function describeLives(
  run: LifeRun | undefined,
  options: LabCrashOptions,
  others: readonly ClientReport[],
): LivesReport {
  const cutShort = others.filter((c) => c.brokenBy === 'end').length;
  if (run === undefined)
    return {
      kinds: {},
      earlyEofs: cutShort,
      acceptedResets: 0,
      kindFaults: 0,
      kindStories: [],
      rareKinds: [],
    };
  const kinds = countKinds(run);
  const faults = findLifeFaults(run, options.level ?? 'commit', { isPlanned: options.fault === 'term' });
  return {
    kinds,
    earlyEofs: cutShort + sumKinds(kinds, (k) => k.earlyEofs),
    acceptedResets: sumKinds(kinds, (k) => k.reset - k.resetUnaccepted),
    kindFaults: faults.length,
    kindStories: faults.slice(0, storiesAtMost).map((f) => f.what),
    rareKinds: isFullSize(options) ? findRareKinds(kinds) : [],
  };
}

/** False if the phase clients fail the run. */
export function areLivesKept({ kindFaults = 0, rareKinds = [] }: Partial<LivesReport>): boolean {
  return kindFaults + rareKinds.length === 0;
}

/** Lines for people. */
export function formatLives(report: Partial<LivesReport>): string[] {
  const { kinds = {}, kindStories = [], rareKinds = [], kindFaults = 0, earlyEofs = 0 } = report;
  if (Object.keys(kinds).length === 0) return [];
  return [
    `in phases    ${earlyEofs} early ends, ${report.acceptedResets ?? 0} resets of accepted connections, ${kindFaults} faults in all`,
    ...formatKinds(kinds),
    ...rareKinds.map((what) => `rare         ${what}`),
    ...kindStories.map((story) => `trouble      ${story}`),
  ];
}

/** All sessions that should have a replica have it, those of the last moment left aside; waits for some seconds at most. */
export async function awaitReplicated(admin: LabAdmin): Promise<void> {
  let before = new Set<string>();
  for (let waitedMs = 0; waitedMs < replicatedLimitMs; waitedMs += lookMs) {
    const missing = (await admin.sessions()).filter((s) => s.buddy !== null && s.cheapTarget !== s.buddy);
    if (waitedMs > 0 && missing.every((s) => !before.has(s.id))) return;
    before = new Set(missing.map((s) => s.id));
    await sleep(lookMs);
  }
}

function kindsOf(options: LabCrashOptions): readonly LifeKind[] {
  return options.kinds ?? lifeKinds;
}

function isFullSize({ sessions, kills }: LabCrashOptions): boolean {
  return sessions >= fullSize.sessions && kills >= fullSize.kills;
}
