/** Door for sibling packages of @restitch/guard. */
export { changeLevel } from './levels.js';
export { createBuddyStore } from './replication/buddy-store.js';
export type { BuddyStore, Replica, ReplicaStatus } from './replication/buddy-store.js';
export { commitBytes, toBuddySchema, toOwnerSchema } from './replication/messages.js';
export { parseToBuddy, parseToOwner } from './replication/ordinary-messages.js';
export type { Commit, ToBuddy, ToOwner } from './replication/messages.js';
export { createOwnerSession } from './replication/owner-session.js';
export type {
  OwnerSession,
  OwnerSessionOptions,
  ReplayBase,
  SafePoint,
} from './replication/owner-session.js';
export { chooseBuddy, planBuddies, rankBuddies } from './takeover/buddy-choice.js';
export type { BuddyAssignment, BuddyCandidate, BuddyChange, BuddyQuery } from './takeover/buddy-choice.js';
export { defaultWatchSettings, forgiveOwnSleep, newWatch, stepWatch } from './takeover/watch.js';
export type { DeathReason, WatchAction, WatchEvent, WatchSettings, WatchState } from './takeover/watch.js';
export { createGuardControl } from './kernel/guard-control.js';
export type { FlowOrigin, GuardControl, Registration } from './kernel/guard-control.js';
export {
  attachGuard,
  detachGuard,
  ensureGuardPins,
  openGuardPins,
  removeGuardPins,
} from './kernel/guard-pins.js';
export type { GuardHostOptions, GuardPins } from './kernel/guard-pins.js';
export { probePrograms } from './kernel/probe-programs.js';
export { attachWitness } from './kernel/witness.js';
export type { Testimony, Witness, WitnessExpectation } from './kernel/witness.js';
export { createCheckpointer } from './replication/checkpointer.js';
export type { Checkpointer } from './replication/checkpointer.js';
export { guardFlags, maxLeases } from './kernel/layout.js';
export type { GuardedFlow, GuardResult, GuardVerdict } from './kernel/layout.js';
export { joinAgent } from './agent/agent-client.js';
export type { AgentMembership } from './agent/agent-client.js';
export {
  ackableSeq,
  afterMove,
  fateOf,
  finishes,
  finSeqOf,
  isOver,
  judgeEgress,
  judgeSocketEnd,
  keepsHalfOpen,
  mayFin,
  mayGrant,
  mayHaveBeenSent,
  mayPromiseEnd,
} from './rules.js';
export type {
  CommittedInput,
  ConnectionEnds,
  EgressEntry,
  EndPromise,
  EgressVerdict,
  Fate,
} from './rules.js';
