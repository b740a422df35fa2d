/**
 * Scores the files of a backtest, one a thread while there are cores: files do not know of each other, so the figures are the
 * same in any order. From TypeScript sources (tests) there is no compiled worker to start, and all run in this thread.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  EtsGroup,
  type MethodOptions,
  openAugursEts,
  type PanelData,
  type PanelForecasts,
  scorePanel,
  type ScoredPanel,
} from '@restitch/analytics';
import { isErrorCode, RestitchError } from '@restitch/core';
import { type PanelColumns, toPanelData } from './csv-panel.js';
import { readCsv } from './read-csv.js';

/** Values a series must have, in all and for each step of the longest horizon. */
const LEAST_ROWS = 20;
const LEAST_HORIZONS = 4;

/** One file to score; plain data. */
export interface ScoreJob {
  readonly file: string;
  readonly columns: PanelColumns;
  readonly method: Pick<MethodOptions, 'horizons' | 'limitRatio' | 'seed'>;
  readonly ets: boolean;
  readonly wantForecasts: boolean;
}

/** Its result. */
export interface ScoredFile {
  readonly scored: ScoredPanel;
  readonly forecasts?: PanelForecasts;
}

/** What a worker says. */
export type WorkerMessage =
  | { readonly t: 'progress'; readonly ratio: number }
  | { readonly t: 'done'; readonly result: ScoredFile }
  | { readonly t: 'failed'; readonly code: string; readonly message: string };

/** Scores all jobs; results stand in the order of the jobs. */
export async function scoreFiles(
  jobs: readonly ScoreJob[],
  onProgress?: (line: string) => void,
): Promise<readonly ScoredFile[]> {
  const compiled = import.meta.url.endsWith('.js');
  const threads = Math.min(jobs.length, availableParallelism());
  const report = (job: ScoreJob) => (ratio: number) =>
    onProgress?.(`${job.file} ${Math.round(ratio * 100)} %`);
  const run = (job: ScoreJob): Promise<ScoredFile> =>
    compiled && threads > 1 ? scoreInWorker(job, report(job)) : scoreFile(job, report(job));
  const results: ScoredFile[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < jobs.length) {
      const at = next++;
      results[at] = await run(jobs[at]!);
    }
  };
  await Promise.all(Array.from({ length: compiled ? threads : 1 }, lane));
  return results;
}

/** Reads and scores one file in this thread. */
export async function scoreFile(job: ScoreJob, onProgress?: (ratio: number) => void): Promise<ScoredFile> {
  const data = toPanelData(await readCsv(job.file), job.columns);
  checkLength(job, data);
  const method = await withEts(job.method, job.ets);
  let forecasts: PanelForecasts | undefined;
  const scored = scorePanel(data, onProgress === undefined ? method : { ...method, onProgress }, (panel) => {
    if (job.wantForecasts) forecasts = panel;
  });
  return forecasts === undefined ? { scored } : { scored, forecasts };
}

/** Half of the rows are to learn from, and the other half must hold more than a few whole horizons. */
function checkLength({ file, method }: ScoreJob, { values }: PanelData): void {
  const rows = values.reduce((most, series) => Math.max(most, series.filter(Number.isFinite).length), 0);
  const longest = Math.max(...method.horizons);
  const fewest = Math.max(LEAST_ROWS, LEAST_HORIZONS * longest);
  if (rows >= fewest) return;
  throw new RestitchError(
    'usage',
    `${file}: ${rows} values in its longest series, and a backtest of ${longest} steps ahead needs ${fewest}; give it a longer file, or shorter --horizons`,
  );
}

/** The method with the ETS expert, if it is wanted. */
export async function withEts(method: MethodOptions, ets: boolean): Promise<MethodOptions> {
  if (!ets) return method;
  const library = dirname(createRequire(import.meta.url).resolve('@bsull/augurs/ets'));
  const fitter = await openAugursEts(await readFile(join(library, 'ets_bg.wasm')));
  return { ...method, extraExperts: (count) => [new EtsGroup(count, fitter, Math.max(...method.horizons))] };
}

function scoreInWorker(job: ScoreJob, onProgress: (ratio: number) => void): Promise<ScoredFile> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./score-worker.js', import.meta.url), { workerData: job });
    worker.on('message', (message: WorkerMessage) => {
      if (message.t === 'progress') onProgress(message.ratio);
      else if (message.t === 'done') resolve(message.result);
      else reject(new RestitchError(isErrorCode(message.code) ? message.code : 'internal', message.message));
    });
    worker.on('error', (cause) =>
      reject(
        new RestitchError('internal', `score ${job.file}: ${cause instanceof Error ? cause.message : ''}`, {
          cause,
        }),
      ),
    );
    worker.on('exit', (code) => {
      // After an answer this changes nothing: a promise settles once.
      reject(new RestitchError('internal', `score ${job.file}: the worker ended with ${code} and no answer`));
    });
  });
}
