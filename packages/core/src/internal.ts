/** Door for sibling packages of @restitch/core: what travels between parties. */
export { decodeImage, defaultMaxImageBytes, encodeImage, tcpImageSchema } from './image.js';
export type { SessionImage, SessionImageBody, TcpImage } from './image.js';
export { connectionLife } from './connection-life.js';
export {
  appSchema,
  endpointNameSchema,
  epochSchema,
  flowSchema,
  fromEndpointSchema,
  fromFailure,
  isPrintable,
  parseMessage,
  protocolVersion,
  replicaReportSchema,
  replicasPerPage,
  socketAddressSchema,
  toEndpointSchema,
  toFailure,
  toSourceSchema,
  toTargetSchema,
} from './messages.js';
export type {
  Closing,
  EndpointRequest,
  FromEndpoint,
  Peer,
  ReplicaReport,
  SessionReport,
  ToEndpoint,
  ToSource,
  ToTarget,
} from './messages.js';
export type { Fields } from './plain-checks.js';
export { isBoolean, isBytes, isFields, isNatural, isU32 } from './plain-checks.js';
export {
  decodePlain,
  encodePlain,
} from './plain-codec.js';
export {
  maxVerdicts,
  readTelemetry,
} from './telemetry.js';
export type {
  EndpointMetrics,
  SessionTelemetry,
  Telemetry,
  TelemetryMessage,
  TelemetryOrder,
  TelemetryRow,
} from './telemetry.js';
