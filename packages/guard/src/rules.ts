/**
 * The decisions everything else in this room rests on, each a pure function of plain values.
 *
 * They stand apart so that the running code and the exhaustive exploration (model/) use the same ones: a rule that is
 * changed here is explored again by the next test run.
 */

/** What a buddy knows of one session. */
export interface ReplicaPosition {
  readonly epoch: number;
  /** Newest commit that is stored. */
  readonly n: number;
  /** The buddy has taken over, or was told that this epoch has ended. */
  readonly isFenced: boolean;
}

/** `apply`: store and acknowledge. `repeat`: known, acknowledge again. `gap`: ask from n + 1. `stale`: refuse. */
export type CommitVerdict = 'apply' | 'repeat' | 'gap' | 'stale';

/** What the buddy does with commit `n` of `epoch`. A snapshot may follow any older commit; a delta only its predecessor. */
export function judgeCommit(
  known: ReplicaPosition | undefined,
  incoming: { readonly epoch: number; readonly n: number; readonly isSnapshot: boolean },
): CommitVerdict {
  if (known === undefined) return incoming.isSnapshot ? 'apply' : 'gap';
  if (incoming.epoch < known.epoch) return 'stale';
  if (incoming.epoch > known.epoch) return incoming.isSnapshot ? 'apply' : 'gap';
  if (known.isFenced) return 'stale';
  if (incoming.n <= known.n) return 'repeat';
  return incoming.isSnapshot || incoming.n === known.n + 1 ? 'apply' : 'gap';
}

/** The highest input offset that may be acknowledged to the client: what came, but nothing that is not committed. */
export function ackableOffset(receivedEnd: number, committedEnd: number): number {
  return Math.min(receivedEnd, committedEnd);
}

/** The highest output offset that may be given to the socket: what was produced, but nothing that is not committed. */
export function sendableOffset(producedEnd: number, committedEnd: number): number {
  return Math.min(producedEnd, committedEnd);
}

/**
 * When a granted lease ends at its holder. Counted from when the request left, so that it ends before the granter's
 * own reckoning (which counts from when it answered) whatever the delay of request and answer.
 */
export function leaseEnd(requestSentAt: number, length: number): number {
  return requestSentAt + length;
}

/** True while the host may emit for guarded flows: retransmissions, FIN and RST included. */
export function mayEmit(now: number, leaseEndsAt: number): boolean {
  return now < leaseEndsAt;
}

/** True if the granter may give or prolong a lease: a verdict of death is final for that instance. */
export function mayGrant(state: 'healthy' | 'suspect' | 'dead'): boolean {
  return state !== 'dead';
}

/** True if the buddy may be told to serve: the owner was declared dead *and* cannot emit any more. */
export function mayTakeOver(
  state: 'healthy' | 'suspect' | 'dead',
  now: number,
  leaseEndsAt: number,
): boolean {
  return state === 'dead' && !mayEmit(now, leaseEndsAt);
}
