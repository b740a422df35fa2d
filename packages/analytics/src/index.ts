/** Public door of @restitch/analytics. */
export { runBacktest, scorePanel, summariseBacktest } from './backtest/run-backtest.js';
export type {
  BacktestReport,
  EventScores,
  HorizonScores,
  OverloadScores,
  PanelForecasts,
  ScoredPanel,
  SeriesScores,
} from './backtest/run-backtest.js';
export type { PanelData } from './backtest/panel-data.js';
export type { MethodOptions, SeriesForecasts } from './backtest/restitch-method.js';
export { PanelForecaster } from './forecast/panel-forecaster.js';
export type { PanelOptions } from './forecast/panel-forecaster.js';
export type { ExpertGroup } from './forecast/expert-group.js';
export { createRandom } from './seeded-random.js';
export type { Random } from './seeded-random.js';
export { scoreStability } from './risk/stability-score.js';
export type { Cause, CauseRisks, Risk, StabilityScore } from './risk/stability-score.js';
export { exceedanceProbability } from './risk/exceedance.js';
export type { ForecastBand } from './risk/exceedance.js';
export { createBrakes, DEFAULT_BRAKES, movesAllowed, stepBrakes } from './control/brakes.js';
export type { BrakeEvent, BrakeInput, BrakeLimits, BrakeReason, BrakeState } from './control/brakes.js';
export { actsAlone, createGovernor, stepGovernor } from './control/mode-governor.js';
export type {
  ActiveRule,
  AnalyticsMode,
  GovernorEvent,
  GovernorInput,
  GovernorState,
} from './control/mode-governor.js';
export { SkillTracker } from './control/skill-tracker.js';
export type { Skill, SkillOptions } from './control/skill-tracker.js';
export { MovedLoadLedger } from './control/moved-load.js';
export type { MovedSession } from './control/moved-load.js';
export {
  believableLoad,
  createEndpointColumns,
  createSessionColumns,
  SESSION_MOVING,
  SESSION_PINNED,
} from './plan/fleet.js';
export type { EndpointColumns, FleetSnapshot, SessionColumns } from './plan/fleet.js';
export { costOf, DEFAULT_OBJECTIVE, gainOf, isAllowed } from './plan/objective.js';
export type { Objective } from './plan/objective.js';
export type { PlanContext } from './plan/plan-context.js';
export { planMoves, preparePlan } from './plan/planner.js';
export type { InsufficientCapacity, Plan, PlannedMove } from './plan/planner.js';
export { ReservationBook } from './plan/reservation-book.js';
export type { ReserveResult } from './plan/reservation-book.js';
export { findEmptiable } from './plan/scale-in.js';
export { SessionTable } from './plan/session-table.js';
export type { FoldResult, TelemetryBatch } from './plan/session-table.js';
export { IdIndex } from './plan/id-index.js';
export { openAugursEts } from './forecast/augurs-ets.js';
export { EtsGroup } from './forecast/ets-group.js';
export type { EtsFitter } from './forecast/ets-group.js';
export { runIncidents } from './backtest/incidents.js';
export type { IncidentScores, IncidentSeries } from './backtest/incidents.js';
export { FailureRisk } from './risk/failure-risk.js';
export type { FailureStatement } from './risk/failure-risk.js';
export { findLeak } from './backtest/causality.js';
export type { CheckedMethod, Leak } from './backtest/causality.js';
export { runRestitch } from './backtest/restitch-method.js';
export { OverloadWatch } from './risk/overload-watch.js';
export type { OverloadWatchOptions } from './risk/overload-watch.js';
export { ClientHistory } from './risk/client-history.js';
export { clientPrefix } from './engine/session-book.js';
export type { StoredHistory } from './risk/client-history.js';
export { encodeModel, parseModel } from './forecast/model-codec.js';
export type { PanelModel } from './forecast/panel-model.js';
export { ModelSlots } from './control/model-slots.js';
export type { SlotEvent } from './control/model-slots.js';
export type { OwnModel, OwnModelRows, RawScorer } from './risk/own-model.js';
export { OverloadModel } from './risk/overload-model.js';
export { planRound } from './control/planning-round.js';
export type { Round, RoundInput } from './control/planning-round.js';
export { explainSession } from './plan/explain.js';
export { DEFAULT_ENGINE } from './engine/engine-options.js';
export type { EngineLimits, EngineOptions, SessionClass } from './engine/engine-options.js';
export type {
  Disposition,
  EngineEventName,
  EngineInput,
  EngineMove,
  EngineOutput,
  EventOutput,
  FleetEndpoint,
  NoticeKind,
  OwnCounts,
  PlanOutput,
  SessionEventKind,
  VerdictsOutput,
} from './engine/engine-input.js';
export { AnalyticsEngine } from './engine/analytics-engine.js';
export { engineStatus, explain } from './engine/engine-report.js';
export { replay } from './engine/replay.js';
export type { Replay, ReplayChanges } from './engine/replay.js';
