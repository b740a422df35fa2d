/** Packets of endpoints that may be dead are kept until that is known. */
import type { Clock } from '@restitch/core';
import type { Endpoint } from '../model/endpoint-registry.js';
import type { FlowBatch } from '../model/flow-batch.js';
import type { Session } from '../model/session-registry.js';

/** Longer than detection, lease and take-over together; past it packets would go to the dead owner. */
const holdMs = 20_000;

/** Until when what is held now is kept at most. */
export function holdDeadlineNs(clock: Clock): bigint {
  return clock.monotonicNs() + BigInt(holdMs) * 1_000_000n;
}

/** Whose packets are kept when their endpoint is suspect: what a kernel delivers by itself needs its acknowledgements. */
function isHeldForSuspect(session: Session): boolean {
  return session.isFinishing !== true && session.closing?.finisher !== 'kernel';
}

/** Holds them and returns them. */
export function holdSuspects(batch: FlowBatch, clock: Clock, endpoint: Endpoint): Set<Session> {
  const deadlineNs = holdDeadlineNs(clock);
  const held = new Set([...endpoint.sessions].filter(isHeldForSuspect));
  for (const { flow, epoch } of held) batch.push({ op: 'hold', flow, epoch, deadlineNs });
  batch.flush();
  return held;
}

/**
 * A session in the middle of a move is kept by the move, and one that was moved away is not this endpoint's. One that it has
 * been told to take over, and has not said that it serves, has no socket there yet: a packet of its client would draw a
 * reset.
 */
export function giveBack(batch: FlowBatch, session: Session, endpoint: Endpoint): void {
  const { flow, epoch, owner, move, isOrphan } = session;
  if (owner === endpoint && isOrphan !== true && (move === undefined || move.isHoldOver))
    batch.push({ op: 'release', flow, epoch });
}
