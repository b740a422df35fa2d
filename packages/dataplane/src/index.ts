/** Public door of @restitch/dataplane. */
export type {
  Dataplane,
  DataplaneOptions,
  DataplaneStats,
  FlowChange,
  FlowChangeResult,
  FlowPhase,
  FlowRecord,
  ForwardTarget,
  HoldBounds,
  ResetOutcome,
  VirtualService,
} from './contract.js';
export { openDataplane } from './open-dataplane.js';
export type { VerdictName } from './layout.js';
