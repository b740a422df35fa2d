/**
 * What a planned move of a protected session needs beyond an ordinary one (docs/crash.md, "A planned move of a
 * protected session"): the source falls silent but stays replicated, the target is protected before it owns.
 *
 * To the session's own buddy only the last delta and the socket's own words travel; all else is there already.
 */
import { addSeq, formatFlow, RestitchError } from '@restitch/core';
import type { SessionImage, TcpImage } from '@restitch/wire/internal';
import { type Commit, commitBytes, decodeOpening, type Opening } from '@restitch/wire/internal';
import { type Replica } from '@restitch/guard/internal';
import type { FrozenSession } from '../session/session-init.js';
import type { Session } from '../session/session.js';
import type { ContinuedFrom, ProtectedSession, SafeState } from './protected-session.js';

/** What goes into the image of a frozen protected session in place of the ordinary fields. */
export interface FrozenParts {
  readonly image: Pick<SessionImage, 'protection' | 'state' | 'tcp' | 'unread' | 'unwritten'> &
    Partial<SessionImage>;
  /** Bytes of the commit that goes ahead of an image to the buddy. */
  readonly deltaBytes: number;
  readonly isToBuddy: boolean;
}

/** A protected session that stands at the target, replicated or about to be, and does not serve yet. */
export interface ArrivedSession {
  readonly owned: ProtectedSession;
  readonly session: Session;
}

/** A frozen session whose commits go on and take no effect. `sendCommit` is there if the target is its ready buddy. */
export function freezeProtected(
  owned: ProtectedSession,
  frozen: FrozenSession,
  tcp: TcpImage,
  sendCommit: ((commit: Commit) => void) | undefined,
): FrozenParts {
  const { session, owner } = owned;
  if (owned.settings.replay && !session.isThrough) return freezeForReplay(owned, tcp);
  const isToBuddy = sendCommit !== undefined && owned.isSafe;
  const last = isToBuddy ? owned.makeCommit() : undefined;
  const kernelEnd = owned.hold(tcp.writeSeq);
  const commits = (session.resumedFromCommit ?? 0) + owner.n;
  const skipped = owned.skippedAt(addSeq(tcp.rcvNxt, -tcp.recvQueue.length));
  const positions = session.isThrough ? { bytesRead: owner.inputEnd, bytesWritten: owned.producedEnd } : {};
  if (!isToBuddy) {
    const protection = { opening: owned.opening, fin: owner.hasFin, commits, skipped };
    const unwritten = Buffer.concat([owner.outputFrom(kernelEnd), frozen.unwritten]);
    const { unread } = frozen;
    const image = { protection, state: session.state, tcp, unread, unwritten, ...positions };
    return { image, deltaBytes: 0, isToBuddy };
  }
  if (last !== undefined) sendCommit(last);
  const base = {
    epoch: session.epoch,
    n: owner.n,
    sendFrom: kernelEnd - tcp.sendQueue.length,
    sentBytes: tcp.sentBytes,
    kernelEnd,
  };
  return {
    image: {
      protection: { opening: nothing, fin: owner.hasFin, commits, skipped, base },
      state: null,
      tcp: { ...tcp, sendQueue: nothing, sentBytes: 0 },
      unread: nothing,
      unwritten: nothing,
      ...positions,
    },
    deltaBytes: last === undefined ? 0 : commitBytes(last),
    isToBuddy,
  };
}

const nothing = new Uint8Array();

/**
 * What an application with `replay` knows is known only by running it again: its last safe point travels, with all input
 * since then, and what it has answered since then to compare with. Output it has made and nobody has promised is made again.
 */
function freezeForReplay(owned: ProtectedSession, tcp: TcpImage): FrozenParts {
  const { session, owner } = owned;
  const kernelEnd = owned.hold(tcp.writeSeq);
  const commits = (session.resumedFromCommit ?? 0) + owner.n;
  const { state, consumed, outputAt, input } = owner.replayBase();
  const safe = state as unknown as SafeState | null;
  const unwritten = owner.outputFrom(kernelEnd);
  const image = {
    protection: {
      opening: owned.opening,
      fin: owner.hasFin,
      commits,
      skipped: owned.skippedAt(addSeq(tcp.rcvNxt, -tcp.recvQueue.length)),
      replayTo: kernelEnd + unwritten.length,
    },
    state: safe?.app ?? null,
    tcp,
    unread: input,
    unwritten,
    endPending: safe?.outputEnded ?? false,
    outputEnded: safe?.outputEnded ?? false,
    inputEnded: safe?.inputEnded ?? false,
    bytesRead: consumed,
    bytesWritten: outputAt,
  };
  return { image, deltaBytes: 0, isToBuddy: false };
}

/** The image a buddy was sent, made whole from its replica. Throws `thaw_failed` if they do not fit. */
export function completeFromReplica(image: SessionImage, replica: Replica): SessionImage {
  const { protection } = image;
  const base = protection?.base;
  const start = replica.acked;
  const queueEnd = base === undefined ? -1 : base.kernelEnd;
  const fits =
    protection !== undefined &&
    base !== undefined &&
    // What was read since without a change of state is no commit.
    replica.consumed <= image.bytesRead &&
    image.bytesRead <= replica.inputEnd &&
    replica.outputEnd === image.bytesWritten &&
    base.sendFrom >= start &&
    queueEnd >= base.sendFrom + base.sentBytes &&
    queueEnd <= replica.outputEnd;
  if (!fits) {
    throw new RestitchError(
      'thaw_failed',
      `session ${image.sessionId}: the image does not stand on commit ${replica.n} of its replica`,
    );
  }
  const sendQueue = replica.output.subarray(base.sendFrom - start, queueEnd - start);
  const state = replica.state as unknown as SafeState | null;
  return {
    ...image,
    state: state?.app ?? null,
    tcp: { ...image.tcp, sendQueue, sentBytes: base.sentBytes },
    unread: replica.input.subarray(image.bytesRead - replica.consumed),
    unwritten: replica.output.subarray(queueEnd - start),
    protection: { ...protection, opening: replica.opening },
  };
}

/** Where a whole image goes on, and what its buddy must know. Throws `message_invalid`, `thaw_failed`. */
export function continuedFrom(image: SessionImage): { continued: ContinuedFrom; opening: Opening } {
  const { protection, tcp, unread, unwritten, bytesRead, bytesWritten } = image;
  const replayTo = protection?.replayTo;
  const written = (replayTo ?? bytesWritten) - unwritten.length;
  const acked = written - tcp.sendQueue.length;
  if (protection === undefined || acked < 0 || (replayTo ?? bytesWritten) < bytesWritten) {
    throw new RestitchError('thaw_failed', `session ${image.sessionId}: more bytes queued than written`);
  }
  const { state: app, outputEnded, inputEnded, closing } = image;
  const continued = {
    state: { app, outputEnded, inputEnded, ...(closing === undefined ? {} : { closing }) },
    skipped: protection.skipped ?? 0,
    consumed: bytesRead,
    input: unread,
    fin: protection.fin,
    acked,
    output: Buffer.concat([tcp.sendQueue, unwritten]),
    written,
    outputEnded,
    ...(replayTo === undefined ? {} : { outputAt: bytesWritten }),
  };
  const opening = decodeOpening(protection.opening);
  if (formatFlow(opening.flow) !== formatFlow(image.flow) || opening.listener !== image.listener) {
    throw new RestitchError('thaw_failed', `session ${image.sessionId}: its opening is of another session`);
  }
  return { continued, opening };
}
