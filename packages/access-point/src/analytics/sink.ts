/** Where everything goes that the analytics engine is to know: collectors push, the host of the engine takes. */
import type { EngineInput } from '@restitch/analytics';

/** Takes inputs in order. Never throws and never waits; while analytics are off, inputs are dropped. */
export interface AnalyticsSink {
  push(input: EngineInput): void;
}
