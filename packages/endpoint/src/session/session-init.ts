/** What a session is made from, what is left of it when it is frozen, and who is told of its end. */
import { randomUUID } from 'node:crypto';
import { type Flow, normalizeAddress } from '@restitch/core';
import { type PlainData } from '@restitch/wire';
import type { MigrateOptions, MigrateOutcome } from './self-moves.js';
import type { Session } from './session.js';

/** Why a session is not new: it was moved here from another endpoint, or that one died and this was its buddy. */
export type ResumeReason = 'move' | 'failover';

/**
 * Where a session's connection is. `closing`: the application is through with it ('close' has been emitted, or is about
 * to be), and the client does not have everything yet. `closed`: it is over, or served elsewhere.
 */
export type SessionPhase = 'live' | 'frozen' | 'closing' | 'closed';

/**
 * How the application was through: it has ended it and seen its client's end, or it destroyed it and wants no more input; there
 * was such input already with `reset`, which then stands in the place of our FIN.
 */
export type ClosingKind = 'ended' | 'destroyed' | 'reset';

/** What has a say in the end of a connection beside the socket: what replicates or guards it. */
export interface ClosingParty {
  /** Who delivers the rest if this process dies. */
  readonly finisher: 'kernel' | 'successor';
  /** The application is through. */
  through(): void;
  /** The socket was looked at. */
  looked(at: { readonly finReceived: boolean; readonly unreadBytes: number }): void;
  /** What the client has sent, its FIN included, is acknowledged to it: the end may be told. Asked when the socket is over. */
  readonly isSettled: boolean;
  /** A reset is about to leave. */
  allowReset(): void;
}

/** What a session starts with. */
export interface SessionInit {
  readonly id: string;
  readonly epoch: number;
  readonly listener: string;
  readonly flow: Flow;
  readonly allowHalfOpen: boolean;
  readonly openedAtMs: number;
  readonly resumed?: ResumedInit;
}

/** What a session that came from elsewhere brings along. */
export interface ResumedInit {
  readonly reason: ResumeReason;
  readonly state: PlainData;
  readonly moves: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly inputEnded: boolean;
  readonly outputEnded: boolean;
  /** Number of the commit a failover goes on from. */
  readonly commit?: number;
}

/** The application's half of a frozen session. */
export interface FrozenSession {
  /** Descriptor of the connection, owned by the caller. */
  readonly fd: number;
  readonly unread: Uint8Array;
  readonly unwritten: Uint8Array;
  readonly outputEnded: boolean;
  readonly inputEnded: boolean;
  /** Of one whose application is through: nobody at the target is to get it. */
  readonly closing?: ClosingKind;
}

/** What the server does when a session's circumstances change. */
export interface SessionWatcher {
  /** Our FIN is about to leave, and the application goes on reading. */
  onEnding(session: Session): void;
  /** The application is through with it; `onClosed` follows when its client is. */
  onClosing(session: Session): void;
  onClosed(session: Session, reason: string): void;
  onPinned(session: Session, reason: string | null): void;
  /** Where it should go; undefined: it stays. */
  targetOf(session: Session): string | undefined;
  askMove(session: Session, options?: MigrateOptions): Promise<MigrateOutcome>;
}

/** A fresh session id. */
export function createSessionId(): string {
  return randomUUID();
}

/** Address text of a net.Socket as restitch writes it. */
export function toFlow(socket: {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
}): Flow | undefined {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (!remoteAddress || !remotePort || !localAddress || !localPort) return undefined;
  return {
    client: { address: normalizeAddress(remoteAddress), port: remotePort },
    vip: { address: normalizeAddress(localAddress), port: localPort },
  };
}
