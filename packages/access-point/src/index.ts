/** Public door of @restitch/access-point. */
export { openAccessPoint } from './daemon/access-point.js';
export type { AccessPoint, AccessPointOptions } from './daemon/access-point.js';
export { openAdminClient } from './admin/admin-client.js';
export type { AdminClient } from './admin/admin-client.js';
export { runDaemon } from './daemon/run-daemon.js';
export type { RunDaemonOptions } from './daemon/run-daemon.js';
