/** A recording played again: its plans and events as lines, and a summary. */
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { replay } from '@restitch/analytics';
import type { AnalyticsMode, EngineOutput, ReplayChanges } from '@restitch/analytics';
import { RestitchError } from '@restitch/core';

/** Flags of `analytics replay`. */
export interface ReplayFlags {
  readonly mode?: AnalyticsMode;
  readonly rule?: 'predictive' | 'reactive';
  readonly trigger?: number;
  readonly json: boolean;
}

/** What came of it. */
export interface ReplayReport {
  readonly lines: readonly string[];
  readonly seconds: readonly { readonly atMs: number; readonly planned: number; readonly given: number }[];
  /** One line; JSON with `--json`. */
  readonly summary: string;
}

/** Replays a file, `.gz` or not. Throws `usage` for what is no recording. */
export async function runReplay(file: string, flags: ReplayFlags): Promise<ReplayReport> {
  const text = await readText(file);
  if (flags.trigger !== undefined && !(flags.trigger > 0 && flags.trigger <= 1))
    throw new RestitchError('usage', '--trigger: expected a number above 0, at most 1');
  const changes: ReplayChanges = {
    ...(flags.mode === undefined ? {} : { mode: flags.mode }),
    ...(flags.rule === undefined ? {} : { rule: flags.rule }),
    ...(flags.trigger === undefined ? {} : { reactiveTrigger: flags.trigger }),
  };
  const lines: string[] = [];
  const seconds: { atMs: number; planned: number; given: number }[] = [];
  let given = 0;
  const hear = (output: EngineOutput): void => {
    if (output.kind === 'plan') {
      const isGiven = output.disposition === 'move';
      seconds.push({
        atMs: output.atMs,
        planned: output.moves.length,
        given: isGiven ? output.moves.length : 0,
      });
      if (isGiven) given += output.moves.length;
    }
    const line = flags.json ? JSON.stringify(output) : lineOf(output);
    if (line !== undefined) lines.push(line);
  };
  const { isWhole, inputs, engine } = replay(text.split('\n'), hear, changes);
  const facts = { inputs, ticks: engine.ticks, isWhole, plans: seconds.length, movesGiven: given };
  const summary = flags.json
    ? JSON.stringify({ kind: 'summary', ...facts })
    : `${inputs} inputs, ${engine.ticks} ticks, ${given} moves given out${isWhole ? '' : '; recorded from the middle: forecasts began anew'}`;
  return { lines, seconds, summary };
}

async function readText(file: string): Promise<string> {
  try {
    const bytes = await readFile(file);
    return (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  } catch (cause) {
    throw new RestitchError('usage', `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}

function lineOf(output: EngineOutput): string | undefined {
  const at = (atMs: number): string => (atMs / 1000).toFixed(1).padStart(10);
  if (output.kind === 'event') return `${at(output.atMs)}  ${output.name}: ${output.text}`;
  if (output.kind !== 'plan' || output.moves.length === 0) return undefined;
  const first = output.moves[0]!;
  const what = `${output.disposition} ${output.moves.length} by ${output.rule}`;
  return `${at(output.atMs)}  ${what}; first ${first.session} ${first.from} → ${first.to}: ${first.reasons.join('; ')}`;
}
