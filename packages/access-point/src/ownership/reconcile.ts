/**
 * What is to be done with a session an endpoint reports, given what the flow's record says: the rules of
 * docs/architecture.md ("Who dies, and what then") as one pure function.
 *
 * The record decides; an endpoint that was away, or a daemon that died, changes nothing about who owns a flow.
 */
import type { SessionReport } from '@restitch/wire/internal';

/** What the report says, as far as it matters here. */
export interface ReportedCopy {
  readonly endpointId: number;
  readonly epoch: number;
  readonly phase: 'live' | 'frozen' | 'pending';
}

/**
 * How a reported copy is judged: one that is closing serves its client as a live one does. That its application has ended
 * it changes nothing about who owns the flow.
 */
export function judgedPhaseOf(phase: SessionReport['phase']): ReportedCopy['phase'] {
  return phase === 'closing' ? 'live' : phase;
}

/** What the record says, as far as it matters here; undefined if there is none. */
export interface RecordedOwner {
  readonly endpointId: number;
  readonly epoch: number;
  /** True if packets are kept (hold or frozen): somebody must let them go. */
  readonly isKept: boolean;
}

/**
 * Whether the recorded owner can still speak for itself. absent: nothing heard in time, but nobody saw its process end:
 * it may serve on behind a cut, so no second copy may be woken. gone: its process was replaced, or it does not know
 * the session.
 */
export type OwnerFate = 'here' | 'may-return' | 'absent' | 'gone';

/**
 * keep: the record is right. claim: write this endpoint into the record. renew: the flow was used again, the record is
 * of the session before: close it and claim anew. revert / activate: tell it to serve, then
 * release the record. abort / release: tell it to drop its copy in silence. take-over: it has the only copy left:
 * claim, then activate. wait: cannot be said before the recorded owner speaks. stale: a live copy that the record
 * contradicts; it cannot be, and is counted.
 */
export type Verdict =
  | 'keep'
  | 'keep-and-release'
  | 'claim'
  | 'renew'
  | 'revert'
  | 'activate'
  | 'abort'
  | 'release'
  | 'take-over'
  | 'wait'
  | 'stale';

/** The verdict on one reported copy. */
export function judgeCopy(
  copy: ReportedCopy,
  record: RecordedOwner | undefined,
  ownerFate: OwnerFate,
): Verdict {
  if (record === undefined) return judgeUnrecorded(copy, ownerFate);
  if (record.endpointId === copy.endpointId) return judgeOwner(copy, record);
  if (copy.phase === 'frozen') return copy.epoch > record.epoch ? 'wait' : 'release';
  if (copy.epoch <= record.epoch) return copy.phase === 'pending' ? 'abort' : 'stale';
  if (copy.phase === 'live') return judgeContender(ownerFate);
  if (ownerFate === 'here') return 'abort';
  return ownerFate === 'gone' ? 'take-over' : 'wait';
}

/**
 * A live copy under an epoch that the record has never given out. Only a record that nobody stands behind yields to it:
 * an endpoint must not get another's sessions by naming a high number.
 */
function judgeContender(ownerFate: OwnerFate): Verdict {
  if (ownerFate === 'here') return 'stale';
  return ownerFate === 'gone' || ownerFate === 'absent' ? 'claim' : 'wait';
}

function judgeOwner(copy: ReportedCopy, record: RecordedOwner): Verdict {
  switch (copy.phase) {
    case 'live':
      if (copy.epoch > record.epoch) return 'claim';
      // An endpoint has one socket for a flow: its lower epoch is a new session on an old flow.
      if (copy.epoch < record.epoch) return 'renew';
      return record.isKept ? 'keep-and-release' : 'keep';
    case 'frozen':
      return copy.epoch >= record.epoch ? 'revert' : 'release';
    case 'pending':
      return copy.epoch === record.epoch ? 'activate' : 'abort';
  }
}

/**
 * New maps: `ownerFate` speaks of whoever reported the session before, or of all that might serve it. Nobody knows who
 * that is without a record: one endpoint that was merely not heard is enough to wait for.
 */
function judgeUnrecorded(copy: ReportedCopy, ownerFate: OwnerFate): Verdict {
  if (copy.phase === 'live') return 'claim';
  if (ownerFate === 'may-return' || ownerFate === 'absent') return 'wait';
  if (copy.phase === 'frozen') return ownerFate === 'here' ? 'release' : 'revert';
  return ownerFate === 'here' ? 'abort' : 'take-over';
}
