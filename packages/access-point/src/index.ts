/** Public door of @restitch/access-point. */
export { openAccessPoint } from './daemon/access-point.js';
export type { AccessPoint, AccessPointOptions } from './daemon/access-point.js';
export { openAdminClient } from './admin/admin-client.js';
export type { AdminClient } from './admin/admin-client.js';
export type { AdminCall } from '@restitch/wire';
export type { DrainProgress, OnDrainDeadline, Stuck } from './moves/drain-progress.js';
export type { Residue } from './moves/drain-residue.js';
export type { DaemonEvent } from './model/event-feed.js';
export type { MoveRecord } from './model/history.js';
export type { MoveOutcome } from './model/life-cycle.js';
export type { MoveStep } from '@restitch/wire/internal';
export { runDaemon } from './daemon/run-daemon.js';
export type { RunDaemonOptions } from './daemon/run-daemon.js';
export type { TakeOverRecord } from './failover/take-over-records.js';
export type { SessionTakeOver } from './model/take-over-history.js';
