/** Who wants an endpoint drained: an operator, whose wish outlives the daemon, or the process itself, which is about to leave. */
import { join } from 'node:path';
import { RestitchError } from '@restitch/core';
import { z } from 'zod';
import { readFileIfThere, writeFileAtomically } from '../model/endpoint-ids.js';

const wishSchema = z.strictObject({
  endpoint: z.string(),
  startedAtMs: z.number(),
  deadlineAtMs: z.number(),
  onDeadline: z.enum(['wait', 'force', 'reset']),
});
/** One wish; times are wall time. */
export type DrainWish = z.infer<typeof wishSchema>;

/** A process that leaves. */
export interface LeavingWish extends DrainWish {
  readonly instance: string;
}

/** All wishes, by endpoint. */
export class DrainWishes {
  readonly #path: string;
  readonly #operators = new Map<string, DrainWish>();
  readonly #leaving = new Map<string, LeavingWish>();

  constructor(stateDirectory: string) {
    this.#path = join(stateDirectory, 'drains.json');
  }

  /** Reads operators' wishes of the daemon before. Throws `config_invalid` for a damaged file. */
  load(): readonly DrainWish[] {
    const text = readFileIfThere(this.#path);
    if (text === undefined) return [];
    const parsed = z.array(wishSchema).safeParse(parseJson(text));
    if (!parsed.success) throw new RestitchError('config_invalid', `${this.#path} is damaged; remove it`);
    for (const wish of parsed.data) this.#operators.set(wish.endpoint, wish);
    return parsed.data;
  }

  /** What holds for an endpoint: an operator's word before that of its process. */
  of(name: string): DrainWish | undefined {
    return this.#operators.get(name) ?? this.#leaving.get(name);
  }

  /** The process that leaves; undefined if none does. */
  leaving(name: string): LeavingWish | undefined {
    return this.#leaving.get(name);
  }

  setOperators(name: string, wish: DrainWish | undefined): void {
    if (wish === undefined) this.#operators.delete(name);
    else this.#operators.set(name, wish);
    writeFileAtomically(this.#path, JSON.stringify([...this.#operators.values()]));
  }

  /** Not on disk: a process that still leaves says so again to the next daemon. */
  setLeaving(name: string, wish: LeavingWish | undefined): void {
    if (wish === undefined) this.#leaving.delete(name);
    else this.#leaving.set(name, wish);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
