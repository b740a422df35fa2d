/** Public door of @restitch/access-point. */
export { openAccessPoint } from './access-point.js';
export type { AccessPoint, AccessPointOptions } from './access-point.js';
export { openAdminClient } from './admin-client.js';
export type { AdminClient } from './admin-client.js';
export type { AdminCall } from './admin-protocol.js';
export type { DrainProgress, OnDrainDeadline, Stuck } from './drain-progress.js';
export type { Residue } from './drain-residue.js';
export type { DaemonEvent } from './event-feed.js';
export type { MoveRecord } from './history.js';
export type { MoveOutcome, MoveStep } from './life-cycle.js';
export { runDaemon } from './run-daemon.js';
export type { RunDaemonOptions } from './run-daemon.js';
export type { TakeOverRecord } from './take-over-records.js';
export type { SessionTakeOver } from './take-over-history.js';
