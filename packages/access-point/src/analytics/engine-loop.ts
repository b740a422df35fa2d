/**
 * The engine with its surroundings, as they run in the worker: batches of inputs in, outputs out, training between ticks, and
 * everything the engine is told written to a recording when one is wanted.
 */
import { AnalyticsEngine, engineStatus, explain } from '@restitch/analytics';
import type { EngineInput, EngineOptions, EngineOutput } from '@restitch/analytics';
import { OwnModelDesk } from './own-model-desk.js';
import { ModelStore } from './model-store.js';
import { Recording } from './recording.js';

/** What can be asked. */
export type EngineQuery =
  | { readonly q: 'status' }
  | { readonly q: 'plan' }
  | { readonly q: 'explain'; readonly name: string }
  | { readonly q: 'record'; readonly file: string | null };

/** What a loop is made from; plain data. */
export interface LoopSetup {
  readonly options: EngineOptions;
  readonly recordFile?: string;
  readonly storeDirectory?: string;
  /** ONNX model of the operator's. */
  readonly ownModelFile?: string;
}

/** See the head of the file. */
export class EngineLoop {
  readonly engine: AnalyticsEngine;
  #recording: Recording | undefined;
  readonly #store: ModelStore | undefined;
  #lastMs = 0;

  readonly #own: OwnModelDesk | undefined;

  /** `hear`: what comes of an answer of the own model, which no batch is waiting for. */
  constructor(
    { options: given, recordFile, storeDirectory, ownModelFile }: LoopSetup,
    hear: (outputs: EngineOutput[]) => void,
  ) {
    this.#own =
      ownModelFile === undefined
        ? undefined
        : new OwnModelDesk(ownModelFile, {
            give: (scores) => hear(this.take([{ kind: 'own-scores', atMs: this.#lastMs, scores }])),
            failed: (text) => hear([{ kind: 'event', atMs: this.#lastMs, name: 'own-model-failed', text }]),
          });
    this.#store = storeDirectory === undefined ? undefined : new ModelStore(storeDirectory);
    const storedModel = this.#store?.read();
    const options = storedModel === undefined ? given : { ...given, storedModel };
    this.engine = new AnalyticsEngine(options);
    if (recordFile !== undefined) this.#recording = Recording.open(recordFile, options, true);
  }

  /** One batch, in order. */
  take(inputs: readonly EngineInput[]): EngineOutput[] {
    this.#recording?.write(inputs);
    const outputs: EngineOutput[] = [];
    for (const input of inputs) {
      this.#lastMs = input.atMs;
      outputs.push(...this.engine.handle(input));
    }
    if (outputs.some(isOfModels)) this.#save(true);
    if (this.#own !== undefined && inputs.some((i) => i.kind === 'tick'))
      this.#own.ask(this.engine.ownModelRows());
    return outputs;
  }

  /** Fits models if they are due; the caller has time until the next tick. */
  trainIfDue(): EngineOutput[] {
    if (!this.engine.trainingDue()) return [];
    const outputs = this.take([{ kind: 'train', atMs: this.#lastMs }]);
    this.#save();
    return outputs;
  }

  /** Answers; plain data. */
  answer(query: EngineQuery): unknown {
    const { engine } = this;
    switch (query.q) {
      case 'status':
        return {
          ...engineStatus(engine),
          recording: this.#recording?.view ?? null,
          ownModel: this.#own?.view ?? null,
        };
      case 'plan':
        return engine.lastPlan ?? null;
      case 'explain':
        return explain(engine, query.name) ?? null;
      case 'record':
        return this.#record(query.file);
    }
  }

  /** A disk that refuses costs the model its next life, not this one. */
  #save(isUrgent = false): void {
    // Rolled back to no model at all: the file must not bring the old one back.
    const text = this.engine.exportModel() ?? (isUrgent ? noModels : undefined);
    if (text !== undefined) this.#store?.write(text, this.#lastMs, isUrgent);
  }

  close(): void {
    this.#own?.close();
    this.#recording?.close();
  }

  #record(file: string | null): unknown {
    const before = this.#recording?.view ?? null;
    this.#recording?.close();
    this.#recording = undefined;
    if (file === null) return before;
    this.#recording = Recording.open(file, this.engine.options, this.engine.ticks === 0);
    return this.#recording.view;
  }
}

/** A stored model that holds none. */
const noModels = '{"version":1,"metrics":{}}';

/** Another model decides from now on: that is worth keeping at once. */
function isOfModels(output: EngineOutput): boolean {
  return output.kind === 'event' && (output.name === 'model-promoted' || output.name === 'model-rolled-back');
}
