/** Door for sibling packages of @restitch/endpoint. */
export { assertNodeSupported } from './session/node-handle.js';
export { measureMoveCpu } from './tcp/index.js';
export type { MoveCpu, MoveCpuOptions, Percentiles, Place } from './tcp/index.js';
export { measureTelemetryCost } from './telemetry/measure-cost.js';
export type { TelemetryCost } from './telemetry/measure-cost.js';
