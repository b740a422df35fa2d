/** The daemon's configuration. */
export type {
  AnalyticsConfig,
  DaemonConfig,
  DrainConfig,
  EndpointConfig,
  MaintenanceWindow,
  FlowsConfig,
  HealthConfig,
  ListenerConfig,
  MovesConfig,
} from './daemon-config.js';
export { checkConfig, formatIssue, parseConfig } from './parse-config.js';
export type { ConfigResult } from './parse-config.js';
