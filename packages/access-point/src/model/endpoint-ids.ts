/**
 * The numbers under which the maps know endpoints, kept in a file so that a restart gives no name another's number.
 *
 * The file is written aside and renamed: a crash leaves the old one or the new one, never half of one.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RestitchError } from '@restitch/core';
import { endpointNameSchema } from '@restitch/wire/internal';
import { z } from 'zod';

/** The maps keep ids in 12 bits (bpf/steering/consts.h MAX_ENDPOINTS). */
const maxEndpointId = 4095;

const fileSchema = z.strictObject({
  nextId: z
    .number()
    .int()
    .min(1)
    .max(maxEndpointId + 1),
  ids: z.record(endpointNameSchema, z.number().int().min(1).max(maxEndpointId)),
});

/** Names to numbers 1..4095; 0 means "none" in the maps. */
export interface EndpointIds {
  /** The name's number; a new one is allotted and on disk before it is returned. */
  idOf(name: string): number;
  /** Every name that ever had a number. */
  names(): string[];
}

/** Opens `endpoint-ids.json` in `directory` (made if it is not there). Throws `config_invalid` if it is damaged. */
export function openEndpointIds(directory: string): EndpointIds {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, 'endpoint-ids.json');
  const state = readIds(path);
  return {
    idOf(name) {
      const known = state.ids[name];
      if (known !== undefined) return known;
      const id = state.nextId;
      if (id > maxEndpointId) {
        throw new RestitchError('no_capacity', `${path}: all ${maxEndpointId} endpoint ids are taken`, {
          retryable: false,
        });
      }
      state.ids[name] = id;
      state.nextId = id + 1;
      writeFileAtomically(path, JSON.stringify(state));
      return id;
    },
    names: () => Object.keys(state.ids),
  };
}

/** Writes a whole file so that a reader sees the old or the new one. */
export function writeFileAtomically(path: string, content: string): void {
  const aside = `${path}.${process.pid}.new`;
  writeFileSync(aside, content, { mode: 0o600, flush: true });
  renameSync(aside, path);
}

/** The file's text, undefined if there is none. */
export function readFileIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new RestitchError('config_invalid', `cannot read ${path}`, { cause: error });
  }
}

function readIds(path: string): { nextId: number; ids: Record<string, number> } {
  const text = readFileIfThere(path);
  if (text === undefined) return { nextId: 1, ids: {} };
  try {
    return fileSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new RestitchError(
      'config_invalid',
      `${path} is damaged; restore it, or remove it together with the pinned maps, which hold the same numbers`,
      { cause: error },
    );
  }
}
