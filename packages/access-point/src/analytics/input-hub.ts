/** Collectors push here before there is an engine and beside it: everyone who wants the inputs gets all of them, in order. */
import type { EngineInput } from '@restitch/analytics';
import type { AnalyticsSink } from './sink.js';

/** Hands inputs on to every sink; costs nothing while there is none. */
export interface InputHub extends AnalyticsSink {
  /** What holds now although it was said long ago (the past of clients): a new engine is told this. */
  current(): readonly EngineInput[];
  /** The returned function ends it. */
  attach(sink: AnalyticsSink): () => void;
}

/** A hub without sinks. */
export function createInputHub(current: () => readonly EngineInput[] = () => []): InputHub {
  const sinks = new Set<AnalyticsSink>();
  return {
    current,
    push(input) {
      for (const sink of sinks) sink.push(input);
    },
    attach(sink) {
      sinks.add(sink);
      return () => void sinks.delete(sink);
    },
  };
}
