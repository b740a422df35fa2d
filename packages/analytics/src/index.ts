/** Public door of @restitch/analytics. */
export { scorePanel, summariseBacktest } from './backtest/run-backtest.js';
export type {
  BacktestReport,
  HorizonScores,
  PanelForecasts,
  ScoredPanel,
} from './backtest/run-backtest.js';
export type { PanelData } from './backtest/panel-data.js';
export type { MethodOptions } from './backtest/restitch-method.js';
export { PanelForecaster } from './forecast/panel-forecaster.js';
export { createRandom } from './seeded-random.js';
export type { AnalyticsMode } from './control/mode-governor.js';
export type { FleetSnapshot } from './plan/fleet.js';
export { costOf, DEFAULT_OBJECTIVE, gainOf, isAllowed } from './plan/objective.js';
export type { Objective } from './plan/objective.js';
export type { PlanContext } from './plan/plan-context.js';
export { planMoves, preparePlan } from './plan/planner.js';
export { SessionTable } from './plan/session-table.js';
export type { TelemetryBatch } from './plan/session-table.js';
export { IdIndex } from './plan/id-index.js';
export { openAugursEts } from './forecast/augurs-ets.js';
export { EtsGroup } from './forecast/ets-group.js';
export { runIncidents } from './backtest/incidents.js';
export type { IncidentScores, IncidentSeries } from './backtest/incidents.js';
export { findLeak } from './backtest/causality.js';
export type { Leak } from './backtest/causality.js';
export { runRestitch } from './backtest/restitch-method.js';
export { ClientHistory } from './risk/client-history.js';
export { clientPrefix } from './engine/session-book.js';
export type { StoredHistory } from './risk/client-history.js';
export type { OwnModel, OwnModelRows } from './risk/own-model.js';
export { DEFAULT_ENGINE } from './engine/engine-options.js';
export type { EngineOptions, SessionClass } from './engine/engine-options.js';
export type {
  EngineInput,
  EngineOutput,
  EventOutput,
  FleetEndpoint,
  NoticeKind,
  OwnCounts,
  PlanOutput,
  VerdictsOutput,
} from './engine/engine-input.js';
export { AnalyticsEngine } from './engine/analytics-engine.js';
export { engineStatus, explain } from './engine/engine-report.js';
export { replay } from './engine/replay.js';
export type { Replay, ReplayChanges } from './engine/replay.js';
