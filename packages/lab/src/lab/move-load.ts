/** Moves sessions of a laboratory under load, at random and at a steady pace, and keeps what came of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { RestitchError, toRestitchError } from '@restitch/core';
import type { MoveAnswer, SessionAnswer } from '@restitch/wire';
import { clientKey } from './lab-admin.js';
import type { LabAdmin } from './lab-admin.js';
import type { OpenedClient } from './client-fleet.js';
import { isTailPort } from './life-bed.js';
import { pickOne } from '../load/seeded-random.js';

/** What came of a series of moves. */
export interface MoveSeries {
  readonly records: MoveAnswer[];
  /** Migrations that could not begin, by error code. */
  readonly refused: Record<string, number>;
}

/** How a series of moves runs. */
export interface MoveSeriesOptions {
  readonly moves: number;
  /** Begun at most so often. */
  readonly movesPerSec: number;
  /** Under way at once at most. */
  readonly concurrency: number;
  readonly random: () => number;
  readonly signal: AbortSignal;
  /** Sessions that may be moved now; asked before each move. */
  readonly candidates: () => readonly string[];
  readonly onMove?: (done: number) => void;
}

/** Session ids by client tag; waits until the access point knows all of them. Throws `deadline_exceeded`. */
export async function matchSessions(
  admin: LabAdmin,
  clients: readonly OpenedClient[],
  limitMs = 20_000,
): Promise<Map<string, SessionAnswer>> {
  const tags = new Map(clients.map((c) => [clientKey(c.localAddress, c.localPort), c.tag]));
  const startedMs = performance.now();
  for (;;) {
    const found = new Map<string, SessionAnswer>();
    for (const session of await admin.sessions()) {
      if (isTailPort(session.flow.vip.port)) continue;
      const tag = tags.get(clientKey(session.flow.client.address, session.flow.client.port));
      if (tag !== undefined) found.set(tag, session);
    }
    if (found.size === tags.size) return found;
    if (performance.now() - startedMs > limitMs) {
      throw new RestitchError(
        'deadline_exceeded',
        `the access point knows ${found.size} of ${tags.size} client sessions after ${limitMs} ms`,
      );
    }
    await sleep(50);
  }
}

/** Runs a series of moves to targets the access point chooses. */
export async function runMoveSeries(admin: LabAdmin, options: MoveSeriesOptions): Promise<MoveSeries> {
  const series: MoveSeries = { records: [], refused: {} };
  const moving = new Set<string>();
  const running = new Set<Promise<void>>();
  const startedMs = performance.now();
  for (let begun = 0; begun < options.moves && !options.signal.aborted; begun++) {
    const waitMs = startedMs + (begun * 1000) / options.movesPerSec - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    while (running.size >= options.concurrency) await Promise.race(running);
    const id = pickOne(
      options.random,
      options.candidates().filter((candidate) => !moving.has(candidate)),
    );
    if (id === undefined) continue;
    moving.add(id);
    const one = moveOne(admin, id, series).finally(() => {
      moving.delete(id);
      running.delete(one);
      options.onMove?.(series.records.length);
    });
    running.add(one);
  }
  await Promise.all(running);
  return series;
}

async function moveOne(admin: LabAdmin, id: string, series: MoveSeries): Promise<void> {
  try {
    series.records.push(await admin.migrate(id));
  } catch (error) {
    const { code } = toRestitchError(error);
    series.refused[code] = (series.refused[code] ?? 0) + 1;
  }
}
