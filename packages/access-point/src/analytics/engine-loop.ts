/**
 * The engine with its surroundings, as they run in the worker: batches of inputs in, outputs out, training between ticks, and
 * everything the engine is told written to a recording when one is wanted.
 */
import { AnalyticsEngine, engineStatus, explain } from '@restitch/analytics';
import type { EngineInput, EngineOptions, EngineOutput } from '@restitch/analytics';
import { Recording } from './recording.js';

/** What can be asked. */
export type EngineQuery =
  | { readonly q: 'status' }
  | { readonly q: 'plan' }
  | { readonly q: 'explain'; readonly name: string }
  | { readonly q: 'record'; readonly file: string | null };

/** See the head of the file. */
export class EngineLoop {
  readonly engine: AnalyticsEngine;
  #recording: Recording | undefined;
  #lastMs = 0;

  constructor(options: EngineOptions, recordFile?: string) {
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
    return outputs;
  }

  /** Fits models if they are due; the caller has time until the next tick. */
  trainIfDue(): EngineOutput[] {
    return this.engine.trainingDue() ? this.take([{ kind: 'train', atMs: this.#lastMs }]) : [];
  }

  /** Answers; plain data. */
  answer(query: EngineQuery): unknown {
    const { engine } = this;
    switch (query.q) {
      case 'status':
        return { ...engineStatus(engine), recording: this.#recording?.view ?? null };
      case 'plan':
        return engine.lastPlan ?? null;
      case 'explain':
        return explain(engine, query.name) ?? null;
      case 'record':
        return this.#record(query.file);
    }
  }

  close(): void {
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
