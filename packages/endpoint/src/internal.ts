/** Door for sibling packages of @restitch/endpoint. */
export { assertNodeSupported } from './session/node-handle.js';
export { measureMoveCpu } from './tcp/index.js';
export type { MoveCpu, MoveCpuOptions, Percentiles, Place } from './tcp/index.js';
