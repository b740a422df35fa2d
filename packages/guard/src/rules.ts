/**
 * The decisions everything else in this room rests on, each a pure function of plain values.
 *
 * The exhaustive exploration (model/) goes by these, and so does the running code where it can: a rule that is changed here is
 * explored again by the next test run. Where it cannot, the comment says who repeats the rule: C cannot call it (`judgeEgress`,
 * `mayEmit`), a lease is counted in whole nanoseconds (`leaseEnd`), or the rule follows from what several parts do (`fateOf`,
 * `keepsHalfOpen`, `judgeSocketEnd`, `mayPromiseEnd`, `mayHaveBeenSent`).
 *
 * Positions are of two kinds. An *offset* counts bytes of a stream from 0. A *sequence number* is what stands in packets:
 * 32 bits that wrap, and everything takes one that the other side must acknowledge: bytes, urgent bytes, a FIN.
 */
import type { ProtectionLevel } from './levels.js';

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
 * own reckoning (which counts from when it answered) whatever the delay of request and answer. `Protection.renew` in the
 * endpoint repeats it, in nanoseconds and as a bigint.
 */
export function leaseEnd(requestSentAt: number, length: number): number {
  return requestSentAt + length;
}

/** True while the host may emit for guarded flows: retransmissions, FIN and RST included. `is_leased` in bpf/maps.h repeats it. */
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

/** What of the client's stream is committed. */
export interface CommittedInput {
  /** Sequence number of the client's first byte. */
  readonly clientStart: number;
  /** Bytes of the stream that are committed. May be beyond 32 bits. */
  readonly inputEnd: number;
  /** Urgent bytes among or directly behind them: they took a sequence number each and are not in the stream. */
  readonly skipped: number;
  /** The client's FIN is committed. */
  readonly fin: boolean;
}

/**
 * The sequence number up to which the client may be acknowledged: what the guard's gate is raised to, and a successor's
 * first rcv_nxt. One too low, and the client resends its last byte for ever; one too high, and a byte is nowhere.
 */
export function ackableSeq({ clientStart, inputEnd, skipped, fin }: CommittedInput): number {
  return toSeq(clientStart + inputEnd + skipped + (fin ? 1 : 0));
}

/** The sequence number at which our FIN stands: behind the last of `outputEnd` bytes. */
export function finSeqOf(serverStart: number, outputEnd: number): number {
  return toSeq(serverStart + outputEnd);
}

/**
 * The highest acknowledgement that a client may send to somebody who took over: everything promised may have been sent by a former
 * owner, our FIN too. A successor restores so much as *sent*; an acknowledgement beyond its snd_nxt would be thrown away
 * with all that comes in the same packet, for good.
 */
export function mayHaveBeenSent(promised: { readonly outputEnd: number; readonly isEnded: boolean }): number {
  return promised.outputEnd + (promised.isEnded ? 1 : 0);
}

/**
 * True if the end of the output may be promised to the guard (`GuardControl.end`), that is, if our FIN may leave behind
 * the last byte even after this process's death. `isEndAtBuddy`: whoever could go on has acknowledged a commit (level
 * periodic: a checkpoint) with the end in it, or there is nobody who could. Before that a successor would go on writing behind a
 * FIN that the client has seen; at level periodic it would do so *while* this host's kernel delivers the rest. There the lease must
 * run, too: an owner that slept through its own take-over would promise what is no longer its. The guard sees to that itself: an
 * end that came without a lease counts from the first packet on that leaves under one.
 * `isAllInSocket`: below commit nobody but this process has what it has not written yet, so a promise would be one that its stop
 * breaks: the client would wait for bytes that nobody sends.
 */
export function mayPromiseEnd(
  level: ProtectionLevel,
  { isEndAtBuddy, isAllInSocket, isLeased }: EndPromise,
): boolean {
  if (level === 'commit') return isEndAtBuddy;
  return isAllInSocket && (level === 'none' || (isEndAtBuddy && isLeased));
}

/** What `mayPromiseEnd` goes by. */
export interface EndPromise {
  readonly isEndAtBuddy: boolean;
  readonly isAllInSocket: boolean;
  readonly isLeased: boolean;
}

/** True if a FIN may stand at sequence number `at` (behind the payload of its segment): only at the promised end. */
export function mayFin(finSeq: number | undefined, at: number): boolean {
  return finSeq !== undefined && toSeq(finSeq) === toSeq(at);
}

/** An entry of the guard, as far as it decides what leaves. */
export interface EgressEntry {
  readonly level: ProtectionLevel;
  /** 0: no application has accepted it yet. */
  readonly epoch: number;
  readonly finSeq: number | undefined;
  readonly mayReset: boolean;
  readonly isLeased: boolean;
  /** The lease ran at the end, or at a packet since. */
  readonly wasLeased: boolean;
}

/** `pass`: as it is. `gate`: with an acknowledgement that is not above the committed one. `reset`: its FIN becomes an RST. */
export type EgressVerdict = 'pass' | 'gate' | 'drop' | 'reset';

/**
 * What becomes of an outgoing segment: bpf/guard/guard.bpf.c, in the same order, compared with it over all cases by guard.test.ts.
 * `at` is the sequence number behind the segment's payload.
 */
export function judgeEgress(
  entry: EgressEntry,
  segment: { readonly fin: boolean; readonly rst: boolean; readonly at: number },
): EgressVerdict {
  const isStrayFin = segment.fin && !mayFin(entry.finSeq, segment.at);
  const hasRun = entry.level === 'none' || entry.isLeased || entry.wasLeased;
  const isKernels = entry.finSeq !== undefined && finishes(entry.level) === 'kernel' && hasRun;
  // Nobody goes on with these: their clients are told whatever happens.
  if (entry.level === 'none' || entry.epoch === 0 || isKernels) {
    if (isStrayFin) return 'reset';
    if (segment.rst || isKernels) return 'pass';
  }
  if (!entry.isLeased) return 'drop';
  if (entry.level !== 'none' && ((segment.rst && !entry.mayReset) || isStrayFin)) return 'drop';
  return entry.level === 'commit' ? 'gate' : 'pass';
}

/** The entry that a moved session leaves on its source's host (`GuardControl.movedAway`): nothing that stray packets draw passes. */
export function afterMove(entry: EgressEntry): EgressEntry {
  return { ...entry, level: 'periodic', finSeq: undefined, mayReset: false };
}

/** Who delivers the rest of a session whose application has ended, once its process is gone. */
export function finishes(level: ProtectionLevel): 'kernel' | 'successor' {
  return level === 'commit' ? 'successor' : 'kernel';
}

/** How far both directions of a connection are. */
export interface ConnectionEnds {
  /** The client has acknowledged our FIN, and so every byte before it. */
  readonly isOurFinAcknowledged: boolean;
  /** The client's FIN is acknowledged by us; at level commit that is: committed. */
  readonly isClientFinAcknowledged: boolean;
  /** Either side has reset it. */
  readonly isReset: boolean;
}

/** True once a connection is over: only then may its replica, guard entry, descriptor and record be let go. */
export function isOver(ends: ConnectionEnds): boolean {
  return ends.isReset || (ends.isOurFinAcknowledged && ends.isClientFinAcknowledged);
}

/**
 * What a kept socket says of its end. A reset comes first: after one nothing is queued any more, which looks like
 * everything delivered. `error` is SO_ERROR, which reading clears: keep what was read.
 */
export function judgeSocketEnd(socket: {
  readonly isClosed: boolean;
  readonly unacknowledgedBytes: number;
  readonly error: number;
}): 'open' | 'delivered' | 'reset' {
  if (socket.error !== 0) return 'reset';
  if (!socket.isClosed) return 'open';
  return socket.unacknowledgedBytes === 0 ? 'delivered' : 'reset';
}

/** True while repeated SYNs of a half-open connection still go to the endpoint that got the first one. */
export function keepsHalfOpen(state: 'healthy' | 'suspect' | 'dead' | 'leaving'): boolean {
  return state === 'healthy' || state === 'suspect';
}

/** What becomes of a session when its owner is gone. */
export type Fate =
  /** The repeated SYN gets another endpoint. */
  | 'steered-anew'
  /** The dead process's kernel tells the client, and the guard lets it pass. */
  | 'reset-by-kernel'
  /** Nobody is left who could tell it: the access point does. */
  | 'reset-by-access-point'
  /** A successor has it all. */
  | 'goes-on'
  /** A successor has a checkpoint: it goes on if the client agrees, else it is reset. */
  | 'client-decides'
  /** The dead process's kernel delivers what it has, and the agent tells when that is done. */
  | 'kernel-finishes';

/**
 * What becomes of a connection when its owner dies. `isEnded`: its end was promised to the guard, by the word of its host's
 * agent; of a host that is gone: was, or may have been. `host`: the kernel is gone with the process, or its host cannot be
 * reached. `stop`: the process does nothing, and its host says so.
 */
export function fateOf(
  connection: {
    readonly level: ProtectionLevel;
    readonly phase: 'handshake' | 'accept-queue' | 'accepted';
    readonly isEnded: boolean;
    readonly hasReplica: boolean;
  },
  death: 'process' | 'host' | 'stop',
): Fate {
  const { level, phase, isEnded, hasReplica } = connection;
  if (phase === 'handshake') return 'steered-anew';
  if (phase === 'accept-queue') return death === 'process' ? 'reset-by-kernel' : 'reset-by-access-point';
  if (level === 'commit') return hasReplica ? 'goes-on' : 'reset-by-access-point';
  if (isEnded) return death === 'host' ? 'reset-by-access-point' : 'kernel-finishes';
  if (level === 'periodic' && hasReplica) return 'client-decides';
  return level === 'none' && death === 'process' ? 'reset-by-kernel' : 'reset-by-access-point';
}

const toSeq = (n: number): number => ((n % 0x1_0000_0000) + 0x1_0000_0000) % 0x1_0000_0000;
