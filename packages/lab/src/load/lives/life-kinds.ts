/** Clients of which each is in one phase of a connection's life most of the time: the names that reports carry. */

/** Connected all the time, and renewed after each end. */
export const standingKinds = [
  'slow-reader',
  'half-closer',
  'server-half-closer',
  'server-ends-with-backlog',
  'server-aborter',
  'urgent',
  'linger',
  'keepalive',
  'user-timeout',
  'vanisher',
] as const;

/** Opened by the laboratory in the moment of a fault. */
const momentKinds = ['accept-queue', 'connect-burst'] as const;

/** All kinds. */
export const lifeKinds = [...standingKinds, ...momentKinds] as const;

/** A kind that stands. */
export type StandingKind = (typeof standingKinds)[number];
/** A kind of the moment. */
export type MomentKind = (typeof momentKinds)[number];
/** A kind of client. */
export type LifeKind = (typeof lifeKinds)[number];

/**
 * How a connection ended, as its client saw it.
 *
 * complete: everything that was announced came, and the end where it was announced. early-eof: a clean end before that.
 * reset: an error. refused: no connection came about. stuck: nothing happened for too long. ended: the client itself broke
 * it off, or the run was over.
 */
export type LifeEnd = 'complete' | 'early-eof' | 'reset' | 'refused' | 'stuck' | 'ended';

/** One connection, from connect to end. Instants are CLOCK_MONOTONIC milliseconds. */
export interface LifeRecord {
  readonly kind: LifeKind;
  /** Unique in the run. */
  readonly tag: string;
  readonly localPort: number;
  readonly openedAtMs: number;
  /** The handshake was done; the first byte came; absent if that did not happen. */
  readonly connectedAtMs?: number;
  readonly firstByteAtMs?: number;
  readonly endedAtMs: number;
  readonly end: LifeEnd;
  /** Name of the error that ended it. */
  readonly error?: string;
  /** When it was in the phase of its kind. */
  readonly phases: ReadonlyArray<readonly [fromMs: number, toMs: number]>;
  readonly receivedBytes: number;
  readonly lostBytes: number;
  readonly doubledBytes: number;
  readonly wrongBytes: number;
  /** Bytes of ours that the other side has acknowledged, as far as was looked. */
  readonly ackedBytes: number;
  /** The longest time in which it was owed something and nothing came. */
  readonly silentMs: number;
  /** What the server's application is to have received at the end, if it was acknowledged whole. */
  readonly uploadedBytes?: number;
}
