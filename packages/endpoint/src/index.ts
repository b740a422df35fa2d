/** Public door of @restitch/endpoint: what a Node server embeds. */
export { createEndpoint } from './endpoint.js';
export type { Endpoint, EndpointStatus } from './endpoint.js';
export { createServer } from './create-server.js';
export type { ConnectionListener, ListenOptions, Server } from './server.js';
export type { FreezeHook } from './session/move-guards.js';
export type { MigrateOptions, MigrateOutcome } from './session/self-moves.js';
export type { Session } from './session/session.js';
export type { ResumeReason, SessionPhase } from './session/session-init.js';
export type { AppReport } from './telemetry/telemetry.js';
export type { AppIdentity, AppOptions, EndpointOptions, ServerOptions } from './options.js';
export type { DelayFigures, ReplicationCost } from './protect/commit-cost.js';
export type { LostSession } from './protect/periodic-take-over.js';
