/** Door for sibling packages of @restitch/core: what travels between parties. */
export { decodeImage, defaultMaxImageBytes, encodeImage, imageVersion, tcpImageSchema } from './image.js';
export type { SessionImage, SessionImageBody, TcpImage } from './image.js';
export {
  appSchema,
  endpointNameSchema,
  epochSchema,
  flowSchema,
  fromEndpointSchema,
  fromFailure,
  parseMessage,
  peerSchema,
  protocolVersion,
  replicaReportSchema,
  sessionReportSchema,
  socketAddressSchema,
  toEndpointSchema,
  toFailure,
  toSourceSchema,
  toTargetSchema,
} from './messages.js';
export type {
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
export {
  assertPlain,
  decodePlain,
  defaultMaxPlainValues,
  encodePlain,
  maxPlainDepth,
} from './plain-codec.js';
