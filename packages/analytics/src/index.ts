/** Public door of @restitch/analytics. */
export { runBacktest } from './backtest/run-backtest.js';
export type {
  BacktestReport,
  EventScores,
  HorizonScores,
  OverloadScores,
  PanelForecasts,
  SeriesScores,
} from './backtest/run-backtest.js';
export type { PanelData } from './backtest/panel-data.js';
export type { MethodOptions, SeriesForecasts } from './backtest/restitch-method.js';
export { PanelForecaster } from './forecast/panel-forecaster.js';
export type { PanelOptions } from './forecast/panel-forecaster.js';
export type { ExpertGroup } from './forecast/expert-group.js';
export { createRandom } from './seeded-random.js';
export type { Random } from './seeded-random.js';
