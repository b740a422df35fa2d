/** Door for sibling packages of @restitch/wire: what the processes say to each other. */
export {
  adminLineSchema,
  maxAdminRequestBytes,
  parseAdminAnswer,
  readAnswer,
  readEvent,
} from './admin/lines.js';
export { announceable } from './admin/requests.js';
export type { AdminRequest, Announceable, MoveStep } from './admin/requests.js';
export { maxAgentLineBytes, parseFromApplication, parseToApplication } from './agent/agent-protocol.js';
export type { FromApplication, ToApplication } from './agent/agent-protocol.js';
export { admissionSchema } from './codec/admission.js';
export type { Admission } from './codec/admission.js';
export { fromFailure, toFailure } from './codec/failure.js';
export {
  isPrintable,
  name as endpointNameSchema,
} from './codec/fields.js';
export { createFrameParser, encodeFrame } from './codec/frames.js';
export { createLineReader } from './codec/line-reader.js';
export { parseMessage } from './codec/parse-message.js';
export { decodePlain, encodePlain } from './codec/plain-codec.js';
export { assertVersion, formatVersion, protocolVersion } from './codec/version.js';
export { fromEndpointSchema, toEndpointSchema } from './control/messages.js';
export { parseReply, replicasPerPage } from './control/replies.js';
export type { ReplicaReport, Reply, ReplyTo, SessionStats } from './control/replies.js';
export type {
  Closing,
  EndpointRequest,
  FromEndpoint,
  Peer,
  SessionReport,
  ToEndpoint,
} from './control/messages.js';
export { maxVerdicts, readTelemetry } from './control/telemetry.js';
export type {
  EndpointMetrics,
  SessionTelemetry,
  Telemetry,
  TelemetryMessage,
  TelemetryOrder,
  TelemetryRow,
} from './control/telemetry.js';
export { chainOf, commitBytes, toBuddySchema, toOwnerSchema } from './replication/messages.js';
export { maxPartBytes } from './replication/ordinary-messages.js';
export type { Commit, ToBuddy, ToOwner } from './replication/messages.js';
export { decodeOpening, encodeOpening } from './replication/opening.js';
export type { Opening } from './replication/opening.js';
export { applyPlainPatch, diffPlain } from './replication/plain-patch.js';
export type { PlainPatch } from './replication/plain-patch.js';
export { assertOffered, imageFeatures, plainImageNeeds } from './transfer/features.js';
export { decodeImage, defaultMaxImageBytes, encodeImage } from './transfer/image.js';
export type { SessionImage, SessionImageBody, TcpImage } from './transfer/image.js';
export { toSourceSchema, toTargetSchema } from './transfer/messages.js';
export type { ToSource, ToTarget } from './transfer/messages.js';
export type { TcpTemplate } from './transfer/tcp-template.js';
