/** A replica as the image of a session, with a socket that is to be made from it. */
import type { SessionImage, Opening } from '@restitch/wire/internal';
import type { Replica } from '@restitch/guard/internal';
import type { SafeState } from './protected-session.js';

/** The image a session goes on from under `epoch`. */
export function imageOf(
  replica: Replica,
  opening: Opening,
  epoch: number,
  tcp: SessionImage['tcp'],
): SessionImage {
  const state = replica.state as unknown as SafeState | null;
  return {
    version: { major: 1, minor: 0 },
    sessionId: replica.id,
    epoch,
    flow: opening.flow,
    listener: opening.listener,
    app: opening.app,
    state: state?.app ?? null,
    tcp,
    unread: replica.input,
    unwritten: Buffer.alloc(0),
    endPending: state?.outputEnded ?? false,
    outputEnded: state?.outputEnded ?? false,
    inputEnded: state?.inputEnded ?? false,
    ...(state?.closing === undefined ? {} : { closing: state.closing }),
    openedAtMs: opening.openedAtMs,
    moves: opening.moves,
    bytesRead: replica.consumed,
    bytesWritten: replica.outputAt,
  };
}
