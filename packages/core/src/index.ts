/** Public door of @restitch/core. */
export { systemClock } from './clock.js';
export type { Clock } from './clock.js';
export { RestitchError, isErrorCode, toRestitchError } from './errors.js';
export type { ErrorCode, ErrorDetails, RestitchErrorOptions } from './errors.js';
export {
  decodeAddress,
  decodeFlowKey,
  encodeAddress,
  encodeFlowKey,
  flowKeyBytes,
  formatFlow,
  formatSocketAddress,
  isIpv4,
  normalizeAddress,
} from './flow.js';
export type { Flow, SocketAddress } from './flow.js';
export { createCounters, silentLogger } from './observe.js';
export type { Counters, Logger } from './observe.js';
export { addSeq, diffSeq } from './seq.js';
