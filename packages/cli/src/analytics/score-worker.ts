/** Thread that scores one file; see `score-files.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { toRestitchError } from '@restitch/core';
import { scoreFile, type ScoreJob, type WorkerMessage } from './score-files.js';

const say = (message: WorkerMessage): void => parentPort?.postMessage(message);
try {
  say({
    t: 'done',
    result: await scoreFile(workerData as ScoreJob, (ratio) => say({ t: 'progress', ratio })),
  });
} catch (cause) {
  const error = toRestitchError(cause);
  say({ t: 'failed', code: error.code, message: error.message });
}
