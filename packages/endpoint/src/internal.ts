/** Door for sibling packages of @restitch/endpoint. */
export { assertNodeSupported } from './session/node-handle.js';
export { SessionUsage } from './session/session-usage.js';
export { VerdictList } from './session/verdict-list.js';
export { activateSocket, discardFrozenSocket, freezeSocket, thawSocket } from './tcp/index.js';
export type { Counted } from './telemetry/session-rows.js';
export { SystemSampler } from './telemetry/system-sampler.js';
export { Telemetry } from './telemetry/telemetry.js';
