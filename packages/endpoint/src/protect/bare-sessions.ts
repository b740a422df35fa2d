/**
 * Sessions at level none on a guarded host: nothing of them is kept, but a death of this process is told to their clients
 * by a reset. A clean end that nobody meant would be taken for the end of the stream.
 */
import type { Socket } from 'node:net';
import type { GuardControl } from '@restitch/guard/internal';
import type { Session } from '../session/session.js';
import { GuardedCarrier } from './guarded-carrier.js';

/** The sessions at level none of one endpoint. */
export class BareSessions {
  readonly #all = new Set<Session>();

  /** A new connection, or one that was moved here. `onClosed` runs when it has ended. */
  carry(
    session: Session,
    socket: Socket,
    guard: GuardControl,
    options: { readonly lease: number; readonly onClosed: () => void },
  ): GuardedCarrier {
    const { epoch, flow } = session;
    const nothing = { committed: 0, sentEnd: 0, windowScale: 0 };
    guard.register(flow, { epoch, level: 'none', lease: options.lease, ...nothing });
    this.#all.add(session);
    // It came with its end already sent, or on its way.
    if (session.writableEnded) guard.closing(flow, epoch);
    session.once('close', () => {
      this.#all.delete(session);
      options.onClosed();
    });
    return this.carrierOf(session, socket, guard);
  }

  has(session: Session): boolean {
    return this.#all.has(session);
  }

  /** Another carrier of the same session, after a move that came to nothing. */
  carrierOf(session: Session, socket: Socket, guard: GuardControl): GuardedCarrier {
    const onClosing = (): void => void guard.closing(session.flow, session.epoch);
    return new GuardedCarrier(socket, session.carrierEvents, { onClosing });
  }

  /** This instance was declared dead, and nobody can go on with these. */
  reset(): void {
    for (const session of this.#all) session.resetAndDestroy();
  }
}
