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
  VirtualService,
} from './contract.js';
