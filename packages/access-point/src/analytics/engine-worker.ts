/** The worker thread of the analytics engine; see `engine-runner.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { toRestitchError } from '@restitch/core';
import { EngineLoop, type LoopSetup } from './engine-loop.js';
import type { FromWorker, ToWorker } from './engine-runner.js';

function say(message: FromWorker): void {
  parentPort?.postMessage(message);
}

const loop = new EngineLoop(workerData as LoopSetup, (outputs) =>
  say({ t: 'outputs', outputs, answers: false }),
);
let isTrainingPlanned = false;

/** After what waits in the queue: a tick must not wait for a fit. */
function planTraining(): void {
  if (isTrainingPlanned || !loop.engine.trainingDue()) return;
  isTrainingPlanned = true;
  setImmediate(() => {
    isTrainingPlanned = false;
    say({ t: 'outputs', outputs: loop.trainIfDue(), answers: false });
  });
}

parentPort?.on('message', (message: ToWorker) => {
  if (message.t === 'inputs') {
    say({ t: 'outputs', outputs: loop.take(message.inputs), answers: true });
    planTraining();
  } else if (message.t === 'query') {
    try {
      say({ t: 'answer', id: message.id, value: loop.answer(message.query) });
    } catch (cause) {
      const { code, message: text } = toRestitchError(cause);
      say({ t: 'refusal', id: message.id, code, message: text });
    }
  } else {
    loop.close();
    process.exit(0);
  }
});
