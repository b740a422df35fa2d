/** The daemon's configuration. */
export type {
  AnalyticsConfig,
  DaemonConfig,
  DrainConfig,
  EndpointConfig,
  InputsConfig,
  MaintenanceWindow,
  FlowsConfig,
  HealthConfig,
  ListenerConfig,
  MoveDeadlines,
  MovesConfig,
} from './daemon-config.js';
export { checkConfig, formatIssue, parseConfig } from './parse-config.js';
export type { ConfigIssue, ConfigResult } from './parse-config.js';
