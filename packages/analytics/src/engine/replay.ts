/**
 * A recording played again: the same engine, the same inputs, in the same order. With the options of the recording it does
 * exactly what it did; with others (another mode or rule) it shows what would have been decided on the same past.
 */
import { RestitchError } from '@restitch/core';
import { AnalyticsEngine } from './analytics-engine.js';
import { isKind } from './input-order.js';
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
  /** The last line was cut off (the daemon died while writing, or the file was copied meanwhile) and was left out. */
  readonly isCut: boolean;
}

/**
 * Plays lines of a recording; every output goes to `hear`. Throws `usage` for what is no recording, and for a line within it that
 * is no input, with its number. A last line that was cut off is left out.
 */
export function replay(
  lines: Iterable<string>,
  hear: (output: EngineOutput) => void,
  changes: ReplayChanges = {},
): Replay {
  let engine: AnalyticsEngine | undefined;
  let isWhole = false;
  let inputs = 0;
  let lineNumber = 0;
  let brokenAt = 0;
  for (const line of lines) {
    lineNumber++;
    if (line.trim() === '') continue;
    if (brokenAt > 0)
      throw new RestitchError(
        'usage',
        `line ${brokenAt} of the recording is no input of the engine; what is before it can be replayed: head -n ${brokenAt - 1} FILE > BEGINNING`,
      );
    if (engine === undefined) {
      const head = parseHead(line);
      isWhole = head.isWhole;
      engine = new AnalyticsEngine({ ...DEFAULT_ENGINE, ...head.options, ...changes });
      continue;
    }
    const input = parseInput(line);
    if (input === undefined) {
      brokenAt = lineNumber;
      continue;
    }
    inputs++;
    // The mode that was set then is not the mode that is asked about now.
    if (input.kind === 'mode' && changes.mode !== undefined) continue;
    for (const output of engine.handle(input)) hear(output);
  }
  if (engine === undefined) throw new RestitchError('usage', 'the recording is empty');
  return { engine, isWhole, inputs, isCut: brokenAt > 0 };
}

function parseHead(line: string): { options: EngineOptions; isWhole: boolean } {
  const head = parse(line) as
    | { recording?: unknown; version?: unknown; options?: EngineOptions; isWhole?: boolean }
    | undefined;
  if (head?.recording !== 'restitch-analytics' || head.options === undefined)
    throw new RestitchError(
      'usage',
      'line 1 is not the head of a recording of restitch analytics; make one with analytics record, or analytics.record in the configuration',
    );
  if (head.version !== 1)
    throw new RestitchError('version_unsupported', `a recording of version ${String(head.version)}`);
  return { options: head.options, isWhole: head.isWhole === true };
}

function parseInput(line: string): EngineInput | undefined {
  const value = parse(line) as EngineInput | undefined;
  const isInput = typeof value === 'object' && value !== null && isKind(value.kind);
  return isInput && Number.isFinite(value.atMs) ? value : undefined;
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return undefined;
  }
}
