/** A recording played again: its plans and events as lines, and a summary. */
import { readFile } from 'node:fs/promises';
import { constants, gunzipSync } from 'node:zlib';
import { replay } from '@restitch/analytics';
import type { AnalyticsMode, EngineOutput, Replay, ReplayChanges } from '@restitch/analytics';
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
  /** A line, and one more if the file is cut off; JSON with `--json`. */
  readonly summary: string;
}

/** Inputs between two words of progress. */
const progressInputs = 20_000;

/** Replays a file, `.gz` or not. Throws `usage` for what is no recording, with the line; `onProgress` hears a line now and then. */
export async function runReplay(
  file: string,
  flags: ReplayFlags,
  onProgress: (line: string) => void = () => {},
): Promise<ReplayReport> {
  const { bytes, isTorn } = await readBytes(file);
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
  const played = replayOf(file, () => replay(linesOf(bytes, file, onProgress), hear, changes));
  const { isWhole, inputs, engine } = played;
  const isCut = played.isCut || isTorn;
  const facts = { inputs, ticks: engine.ticks, isWhole, isCut, plans: seconds.length, movesGiven: given };
  const notes = [
    isWhole ? '' : '; recorded from the middle: forecasts began anew',
    isCut ? '\nthe file is cut off: what is left of it was played' : '',
  ];
  const summary = flags.json
    ? JSON.stringify({ kind: 'summary', ...facts })
    : `${inputs} inputs, ${engine.ticks} ticks, ${given} moves given out${notes.join('')}`;
  return { lines, seconds, summary };
}

/** Says in which file it was. */
function replayOf(file: string, play: () => Replay): Replay {
  try {
    return play();
  } catch (cause) {
    if (!(cause instanceof RestitchError)) throw cause;
    throw new RestitchError(cause.code, `${file}: ${cause.message}`, { cause });
  }
}

/** Lines one after the other: a recording may be longer than the longest text. */
function* linesOf(bytes: Buffer, file: string, onProgress: (line: string) => void): Generator<string> {
  let count = 0;
  for (let start = 0; start < bytes.length; ) {
    const found = bytes.indexOf(10, start);
    const end = found < 0 ? bytes.length : found;
    yield bytes.toString('utf8', start, end);
    start = end + 1;
    if (++count % progressInputs === 0) onProgress(`${file} ${Math.round((100 * start) / bytes.length)} %`);
  }
}

/** The bytes of a file, unpacked; of an archive that was cut off, those that can be had. */
async function readBytes(file: string): Promise<{ readonly bytes: Buffer; readonly isTorn: boolean }> {
  try {
    const bytes = await readFile(file);
    if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return { bytes, isTorn: false };
    try {
      return { bytes: gunzipSync(bytes), isTorn: false };
    } catch {
      return { bytes: gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }), isTorn: true };
    }
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
