/** Which parts of a configuration a running daemon can take up. */
import { RestitchError } from '@restitch/core';
import type { DaemonConfig } from '../config/index.js';

/** Keys that are in use from the start on: maps have their size, sockets their address. */
const fixed = [
  'name',
  'cluster',
  'interfaceName',
  'pinDirectory',
  'stateDirectory',
  'holdDevice',
  'adminSocket',
  'control',
  'hold',
  'rebuildGraceMs',
  'historyMoves',
  'isLab',
] as const satisfies ReadonlyArray<keyof DaemonConfig>;

/** Throws `config_invalid` naming every change that needs a restart; the restart itself drops no packet. */
export function assertReloadable(before: DaemonConfig, next: DaemonConfig): void {
  const changed: string[] = fixed.filter((key) => !isSame(before[key], next[key]));
  if (before.flows.maxFlows !== next.flows.maxFlows) changed.push('flows.maxFlows');
  if (before.flows.maxHalfOpen !== next.flows.maxHalfOpen) changed.push('flows.maxHalfOpen');
  if (before.inputs.noticeSocket !== next.inputs.noticeSocket) changed.push('inputs.noticeSocket');
  if (changed.length === 0) return;
  throw new RestitchError(
    'config_invalid',
    `the old configuration stays: ${changed.join(', ')} cannot change in a running daemon; restart it, traffic flows on meanwhile`,
    { details: { changed } },
  );
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
