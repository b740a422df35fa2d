/** Door for sibling packages of @restitch/access-point. */
export { checkConfig, formatIssue, parseConfig } from './config/index.js';
export type { ConfigResult, DaemonConfig } from './config/index.js';
