/**
 * Sessions of a guarded host that nobody keeps a replica of: those at level none, and those at level periodic whose
 * application had ended them before they came here.
 *
 * A death of this process is told to the clients of the former by a reset: a clean end that nobody meant would be taken for
 * the end of the stream. What the application has ended the kernel finishes, whoever dies.
 */
import type { Socket } from 'node:net';
import type { ProtectionLevel } from '@restitch/guard';
import type { GuardControl } from '@restitch/guard/internal';
import type { ClosingParty } from '../session/session-init.js';
import type { Session } from '../session/session.js';
import { GuardedCarrier } from './guarded-carrier.js';

/** What a bare session is carried with. */
export interface BareOptions {
  readonly level: ProtectionLevel;
  readonly lease: number;
  /** Of one that came with its end already sent. */
  readonly finSeq?: number | undefined;
  /** Its connection is over, or served elsewhere. */
  readonly onOver: () => void;
}

/** The sessions without a replica of one endpoint. */
export class BareSessions {
  readonly #all = new Set<Session>();

  /** A new connection, or one that was moved here. */
  carry(session: Session, socket: Socket, guard: GuardControl, options: BareOptions): GuardedCarrier {
    const { epoch, flow } = session;
    const { level, lease, finSeq } = options;
    const nothing = { committed: 0, sentEnd: 0, windowScale: 0 };
    guard.register(flow, { session: session.id, epoch, level, lease, finSeq, ...nothing });
    this.#all.add(session);
    session.closingParty = closingParty(session, guard);
    session.whenOver(() => {
      this.#all.delete(session);
      options.onOver();
    });
    return this.carrierOf(session, socket, guard);
  }

  has(session: Session): boolean {
    return this.#all.has(session);
  }

  /** Another carrier of the same session, after a move that came to nothing. */
  carrierOf(session: Session, socket: Socket, guard: GuardControl): GuardedCarrier {
    const { flow, epoch } = session;
    return new GuardedCarrier(socket, session.carrierEvents, {
      onEnding: (finSeq) => void guard.end(flow, epoch, finSeq),
      onReset: () => session.closingParty?.allowReset(),
    });
  }

  /** This instance was declared dead: nobody can go on with these but the kernel, with what was ended. Returns those it got. */
  release(): Session[] {
    const left: Session[] = [];
    for (const session of this.#all) {
      if (session.tailBytes === undefined) session.resetAndDestroy();
      else {
        session.abandon();
        left.push(session);
      }
    }
    return left;
  }
}

/** Of a session whose end the kernel can finish alone. */
function closingParty(session: Session, guard: GuardControl): ClosingParty {
  const { flow, epoch } = session;
  return {
    finisher: 'kernel',
    isSettled: true,
    through: () => undefined,
    looked: () => undefined,
    allowReset: () => void guard.allowReset(flow, epoch),
  };
}
