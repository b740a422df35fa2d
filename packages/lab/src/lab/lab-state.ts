/**
 * What a laboratory has made, on disk before it is made: a crashed laboratory can be taken down by another process.
 */
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { RestitchError } from '@restitch/core';
import { labRoot } from './lab-plan.js';
import { isSameProcess } from './process-identity.js';
import type { ProcessIdentity } from './process-identity.js';

/** A process of the laboratory. */
export interface LabProcess extends ProcessIdentity {
  /** Party name, or `link` for the link emulator. */
  readonly name: string;
}

/** One laboratory as its state file has it. */
export interface LabState {
  readonly id: string;
  /** The process that made it, and takes it down if it is still there. */
  readonly owner: ProcessIdentity;
  readonly ipv6: boolean;
  readonly rttMs: number;
  readonly lossRatio: number;
  readonly endpoints: readonly string[];
  readonly namespaces: readonly string[];
  readonly cgroups: readonly string[];
  readonly processes: readonly LabProcess[];
}

/** Writes a state file whole or not at all. */
export function writeLabState(state: LabState): void {
  mkdirSync(labRoot, { recursive: true, mode: 0o755 });
  const path = `${labRoot}/${state.id}.json`;
  writeFileSync(`${path}.new`, `${JSON.stringify(state, null, 2)}\n`);
  renameSync(`${path}.new`, path);
}

/** Reads the state of laboratory `id`. Throws `usage` if there is none. */
export function readLabState(id: string): LabState {
  try {
    return JSON.parse(readFileSync(`${labRoot}/${id}.json`, 'utf8')) as LabState;
  } catch (error) {
    throw new RestitchError('usage', `no laboratory ${id} on this host: start one with "restitch lab up"`, {
      cause: error,
    });
  }
}

/** Ids of all laboratories with a state file. */
export function listLabIds(): string[] {
  try {
    return readdirSync(labRoot)
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length));
  } catch {
    return [];
  }
}

/** The laboratory a command means: the one named, or the only one. Throws `usage`. */
export function chooseLabId(wanted: string | undefined): string {
  if (wanted !== undefined) return wanted;
  const ids = listLabIds();
  const [only] = ids;
  if (ids.length === 1 && only !== undefined) return only;
  throw new RestitchError(
    'usage',
    ids.length === 0
      ? 'no laboratory on this host: start one with "restitch lab up"'
      : `there are ${ids.length} laboratories (${ids.join(', ')}): name one with --lab`,
  );
}

/** Removes the state file and the laboratory's directory. */
export function removeLabState(id: string): void {
  rmSync(`${labRoot}/${id}`, { recursive: true, force: true });
  rmSync(`${labRoot}/${id}.json`, { force: true });
}

/** True while the process that made the laboratory is alive (one kept by "lab up" has none). */
export function isOwned(state: LabState): boolean {
  return state.owner.pid !== 0 && isSameProcess(state.owner);
}
