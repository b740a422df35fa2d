/** The reconstitution engine: a connected socket to an image and back (docs: kernel-facts §3 and §4). */
export { inspectSocket, isOutOfOrderLikely } from './inspect-socket.js';
export type { SocketInspection, UnsupportedReason } from './inspect-socket.js';
export { discardFrozenSocket, freezeSocket, unfreezeSocket } from './freeze-socket.js';
export type { FreezeOptions, FrozenTcp } from './freeze-socket.js';
export { ReservedSocket, discardPendingSocket, thawSocket } from './thaw-socket.js';
export type { PendingTcp } from './thaw-socket.js';
export { activateSocket, probeClient, readConfirmation, readTimeouts } from './activate-socket.js';
export type { ActiveTcp, Confirmation } from './activate-socket.js';
export { endOutput, keepDescriptor, lookAtClosing, resetClosing } from './closing-socket.js';
export type { ClosingLook } from './closing-socket.js';
export { UrgentAccount } from './urgent-account.js';
export { restoreTimers, timeoutsCappedForMs, uncapTimeouts } from './timers.js';
export type { TimerSettings } from './timers.js';
export { readRemainder, rethawAsSent, rethawRemainder } from './settle-remainder.js';
export { imageFromCheckpoint, readTemplate, readWrittenEnd } from './checkpoint-socket.js';
export type { CheckpointPositions, TemplateOffsets } from './checkpoint-socket.js';
export type { TcpTemplate } from '@restitch/wire/internal';
