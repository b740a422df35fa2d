/** Door for sibling packages of @restitch/guard. */
export { createBuddyStore } from './replication/buddy-store.js';
export type { BuddyStore, Replica } from './replication/buddy-store.js';
export { createOwnerSession } from './replication/owner-session.js';
export type { OwnerSession } from './replication/owner-session.js';
export { chooseBuddy } from './takeover/buddy-choice.js';
export { forgiveOwnSleep, newWatch, stepWatch } from './takeover/watch.js';
export type { DeathReason, WatchAction, WatchEvent, WatchSettings, WatchState } from './takeover/watch.js';
export { createGuardControl } from './kernel/guard-control.js';
export type { GuardControl } from './kernel/guard-control.js';
export {
  attachGuard,
  detachGuard,
  ensureGuardPins,
  openGuardPins,
  removeGuardPins,
} from './kernel/guard-pins.js';
export type { GuardPins } from './kernel/guard-pins.js';
export { probePrograms } from './kernel/probe-programs.js';
export { attachWitness } from './kernel/witness.js';
export type { Testimony, Witness, WitnessExpectation } from './kernel/witness.js';
export { createCheckpointer } from './replication/checkpointer.js';
export type { Checkpointer } from './replication/checkpointer.js';
export { joinAgent } from './agent/agent-client.js';
export type { AgentMembership } from './agent/agent-client.js';
export {
  ackableSeq,
  finishes,
  finSeqOf,
} from './rules.js';
