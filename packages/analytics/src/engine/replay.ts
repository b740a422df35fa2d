/**
 * A recording played again: the same engine, the same inputs, in the same order. With the options of the recording it does
 * exactly what it did; with others (another mode or rule) it shows what would have been decided on the same past.
 */
import { RestitchError } from '@restitch/core';
import { AnalyticsEngine } from './analytics-engine.js';
import type { EngineInput, EngineOutput } from './engine-input.js';
import { DEFAULT_ENGINE, type EngineOptions } from './engine-options.js';

/** Options that may differ from the recorded ones. */
export type ReplayChanges = Partial<Pick<EngineOptions, 'mode' | 'rule' | 'reactiveTrigger' | 'model'>>;

/** What came of it. */
export interface Replay {
  readonly engine: AnalyticsEngine;
  /** False if the recorded engine had a past that is not in the recording. */
  readonly isWhole: boolean;
  readonly inputs: number;
}

/**
 * Plays lines of a recording; every output goes to `hear`. Throws `usage` for what is no recording. A line that was cut off at
 * the end (the daemon died while writing) ends the replay.
 */
export function replay(
  lines: Iterable<string>,
  hear: (output: EngineOutput) => void,
  changes: ReplayChanges = {},
): Replay {
  let engine: AnalyticsEngine | undefined;
  let isWhole = false;
  let inputs = 0;
  for (const line of lines) {
    if (line === '') continue;
    if (engine === undefined) {
      const head = parseHead(line);
      isWhole = head.isWhole;
      engine = new AnalyticsEngine({ ...DEFAULT_ENGINE, ...head.options, ...changes });
      continue;
    }
    const input = parseInput(line);
    if (input === undefined) break;
    inputs++;
    // The mode that was set then is not the mode that is asked about now.
    if (input.kind === 'mode' && changes.mode !== undefined) continue;
    for (const output of engine.handle(input)) hear(output);
  }
  if (engine === undefined) throw new RestitchError('usage', 'the recording is empty');
  return { engine, isWhole, inputs };
}

function parseHead(line: string): { options: EngineOptions; isWhole: boolean } {
  const head = parse(line) as
    | { recording?: unknown; version?: unknown; options?: EngineOptions; isWhole?: boolean }
    | undefined;
  if (head?.recording !== 'restitch-analytics' || head.options === undefined)
    throw new RestitchError('usage', 'this is not a recording of restitch analytics');
  if (head.version !== 1)
    throw new RestitchError('version_unsupported', `a recording of version ${String(head.version)}`);
  return { options: head.options, isWhole: head.isWhole === true };
}

function parseInput(line: string): EngineInput | undefined {
  const value = parse(line) as EngineInput | undefined;
  return typeof value === 'object' && value !== null && typeof value.kind === 'string' ? value : undefined;
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}
