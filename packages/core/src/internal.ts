/** Door for sibling packages of @restitch/core: what travels between parties. */
export { decodeImage, defaultMaxImageBytes, encodeImage, imageVersion, tcpImageSchema } from './image.js';
export type { ImageProtection, SessionImage, SessionImageBody, TcpImage } from './image.js';
export { connectionLife } from './connection-life.js';
export type {
  ConnectionDeath,
  ConnectionLifeRow,
  ConnectionParty,
  ConnectionPhase,
} from './connection-life.js';
export {
  appSchema,
  closingSchema,
  endpointNameSchema,
  epochSchema,
  flowSchema,
  fromEndpointSchema,
  fromFailure,
  isPrintable,
  parseMessage,
  peerSchema,
  protocolVersion,
  replicaReportSchema,
  replicasPerPage,
  sessionReportSchema,
  socketAddressSchema,
  toEndpointSchema,
  toFailure,
  toSourceSchema,
  toTargetSchema,
} from './messages.js';
export type {
  Closing,
  EndpointRequest,
  Failure,
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
  assertPlain,
  decodePlain,
  defaultMaxPlainValues,
  encodePlain,
  maxPlainDepth,
} from './plain-codec.js';
export {
  maxTelemetryRows,
  maxVerdicts,
  metricNames,
  readTelemetry,
  telemetrySchema,
  verdictsSchema,
} from './telemetry.js';
export type {
  EndpointMetrics,
  MetricName,
  SessionTelemetry,
  Telemetry,
  TelemetryMessage,
  TelemetryOrder,
  TelemetryRow,
  VerdictsMessage,
} from './telemetry.js';
