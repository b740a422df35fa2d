/**
 * Where the engine runs: in a worker thread, so that neither a plan nor a fit of models delays a move; or, for tests that own
 * the clock, in this thread.
 */
import { Worker } from 'node:worker_threads';
import { RestitchError, isErrorCode, toRestitchError } from '@restitch/core';
import type { EngineInput, EngineOptions, EngineOutput } from '@restitch/analytics';
import { EngineLoop, type EngineQuery, type LoopSetup } from './engine-loop.js';

/** What a runner is started with. */
export interface RunnerSetup {
  readonly options: EngineOptions;
  readonly recordFile?: string;
  /** Where models are kept; without it they are not. */
  readonly storeDirectory?: string;
  readonly ownModelFile?: string;
  readonly onOutputs: (outputs: readonly EngineOutput[]) => void;
  /** It ended by itself. Called once; never after `close`. */
  readonly onExit: (reason: string) => void;
}

/** A running engine. */
export interface EngineRunner {
  post(inputs: readonly EngineInput[]): void;
  /** Rejects with `peer_lost` when the engine ends first. */
  query(query: EngineQuery): Promise<unknown>;
  /** Batches that were posted and not answered. */
  readonly unanswered: number;
  close(): void;
}

/** Starts a runner. */
export type StartRunner = (setup: RunnerSetup) => EngineRunner;

/** Host → worker. */
export type ToWorker =
  | { readonly t: 'inputs'; readonly inputs: readonly EngineInput[] }
  | { readonly t: 'query'; readonly id: number; readonly query: EngineQuery }
  | { readonly t: 'close' };
/** Worker → host. */
export type FromWorker =
  | { readonly t: 'outputs'; readonly outputs: readonly EngineOutput[]; readonly answers: boolean }
  | { readonly t: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly t: 'refusal'; readonly id: number; readonly code: string; readonly message: string };

/** A worker that grows beyond this is ended by V8 and started anew, instead of taking the daemon along. */
const maxHeapMb = 1024;

/** In a worker thread; from TypeScript sources, where there is no compiled worker, in this thread. */
export const startWorkerRunner: StartRunner = (setup) =>
  import.meta.url.endsWith('.js') ? new WorkerRunner(setup) : startInlineRunner(setup);

/** In this thread; a training runs within the call that made it due. */
export const startInlineRunner: StartRunner = ({ onOutputs, ...setup }) => {
  const loop = new EngineLoop(setup, onOutputs);
  return {
    unanswered: 0,
    post(inputs) {
      onOutputs(loop.take(inputs));
      onOutputs(loop.trainIfDue());
    },
    query: async (query) => loop.answer(query),
    close: () => loop.close(),
  };
};

/** What of a setup can go to another thread. */
function loopSetupOf({ options, recordFile, storeDirectory, ownModelFile }: RunnerSetup): LoopSetup {
  return {
    options,
    ...(recordFile === undefined ? {} : { recordFile }),
    ...(storeDirectory === undefined ? {} : { storeDirectory }),
    ...(ownModelFile === undefined ? {} : { ownModelFile }),
  };
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: RestitchError) => void;
}

class WorkerRunner implements EngineRunner {
  unanswered = 0;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #setup: RunnerSetup;
  #queries = 0;
  #isOver = false;

  constructor(setup: RunnerSetup) {
    this.#setup = setup;
    this.#worker = new Worker(new URL('./engine-worker.js', import.meta.url), {
      workerData: loopSetupOf(setup),
      resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
      name: 'analytics',
    });
    this.#worker.unref();
    this.#worker.on('message', (message: FromWorker) => this.#hear(message));
    this.#worker.on('error', (error) => this.#end(toRestitchError(error).message));
    this.#worker.on('exit', (code) => this.#end(`ended with ${code}`));
  }

  post(inputs: readonly EngineInput[]): void {
    if (this.#isOver) return;
    this.unanswered++;
    this.#worker.postMessage({ t: 'inputs', inputs } satisfies ToWorker);
  }

  query(query: EngineQuery): Promise<unknown> {
    if (this.#isOver) return Promise.reject(lost('has ended'));
    const id = ++this.#queries;
    this.#worker.postMessage({ t: 'query', id, query } satisfies ToWorker);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#fail('was stopped');
    this.#worker.postMessage({ t: 'close' } satisfies ToWorker);
    // One that hangs does not hear it.
    this.#worker.terminate().catch(() => undefined);
  }

  #hear(message: FromWorker): void {
    if (this.#isOver) return;
    if (message.t === 'outputs') {
      if (message.answers) this.unanswered--;
      this.#setup.onOutputs(message.outputs);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.t === 'answer') waiting?.resolve(message.value);
    else {
      const code = isErrorCode(message.code) ? message.code : 'internal';
      waiting?.reject(new RestitchError(code, message.message));
    }
  }

  #end(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#fail(reason);
    this.#setup.onExit(reason);
  }

  #fail(reason: string): void {
    for (const { reject } of this.#waiting.values()) reject(lost(reason));
    this.#waiting.clear();
  }
}

function lost(reason: string): RestitchError {
  return new RestitchError('peer_lost', `the analytics worker ${reason}`);
}
