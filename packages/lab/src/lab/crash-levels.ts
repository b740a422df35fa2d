/** `lab crash` at levels that promise less than commit: what may happen to a client, and what may not. */
import type { ClientReport } from '../load/clients/driver-messages.js';
import type { CrashFault } from './lab-crash.js';
import { clientKey } from './lab-admin.js';
import { labPorts, protectedPorts } from './lab-plan.js';

/** Levels whose promise can be tried. */
export const crashLevels = ['none', 'periodic', 'commit'] as const;
/** A level whose promise can be tried. */
export type CrashLevel = (typeof crashLevels)[number];

/** What became of clients whose server died at a level below commit. */
export interface PromisedResets {
  readonly level: CrashLevel;
  /** As promised. */
  readonly resets: number;
  /** Clients hit by a fault that were served on. */
  readonly resumed: number;
  /** Ended without a reset: the client may take what it has for all there is. */
  readonly truncated: number;
  /** Wrong or doubled bytes of clients that were reset. */
  readonly wrongBytes: number;
}

const echoPorts: Readonly<Record<CrashLevel, number>> = {
  none: protectedPorts.echoNone,
  periodic: protectedPorts.echoPeriodic,
  commit: labPorts.echo,
};

/** Where the echo application of this level listens. */
export function echoPortOf(level: CrashLevel = 'commit'): number {
  return echoPorts[level];
}

const busyRecordsPerSec = 50;
/** A fault and all that follows from it mostly fits between two of these. */
const quietRecordsPerSec = 0.2;

/** Below commit half of the clients are quiet most of the time: only such a one can be served on. */
export function recordsPerSecOf(level: CrashLevel = 'commit', client = 0): number {
  return level !== 'commit' && client % 4 < 2 ? quietRecordsPerSec : busyRecordsPerSec;
}

/** Sets clients apart that were reset and whose server had died. `hit`: their keys. */
export function splitPromised(
  level: CrashLevel = 'commit',
  clients: readonly ClientReport[],
  hit: ReadonlySet<string>,
): { readonly others: readonly ClientReport[]; readonly promised?: PromisedResets } {
  if (level === 'commit') return { others: clients };
  const isHit = (c: ClientReport): boolean => hit.has(clientKey(c.localAddress, c.localPort));
  const isTruncated = (c: ClientReport): boolean => c.brokenBy === 'end';
  const reset = clients.filter((c) => c.resets > 0 && isHit(c) && !isTruncated(c));
  const others = clients.filter((c) => !reset.includes(c));
  const promised = {
    level,
    resets: reset.length,
    resumed: others.filter((c) => isHit(c) && c.resets === 0).length,
    truncated: clients.filter(isTruncated).length,
    wrongBytes: reset.reduce((sum, c) => sum + c.mismatchedBytes + c.duplicatedBytes, 0),
  };
  return { others, promised };
}

/** True if no client got more, less or other than its level promises, and something was tried. */
export function isPromiseKept(promised: PromisedResets, fault: CrashFault): boolean {
  const isTried = promised.resets + promised.resumed > 0 || fault === 'agent';
  return promised.truncated + promised.wrongBytes === 0 && isTried;
}

/** One line for people, or none. */
export function formatPromised(promised: PromisedResets | undefined): string[] {
  if (promised === undefined) return [];
  const { level, resumed, resets, truncated, wrongBytes } = promised;
  return [
    `${level.padEnd(12)} ${resumed} served on, ${resets} reset as promised, ${truncated} cut short, ${wrongBytes} wrong bytes`,
  ];
}
