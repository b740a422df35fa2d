/** A session that has a buddy, as the replication of an endpoint sees it; the levels differ in what is behind. */
import type { Flow } from '@restitch/core';
import type { ProtectionSettings } from '@restitch/guard';
import type { Commit } from '@restitch/wire/internal';
import type { ClosingParty } from '../session/session-init.js';
import type { Session } from '../session/session.js';

/** Where a replicated session stands with its buddies. */
export class BuddyPlace {
  /** Name of the endpoint that keeps the replica; undefined while nobody does. */
  buddy: string | undefined;
  /** Those that still have an older replica. */
  readonly formerBuddies = new Set<string>();
  /** Those of them that were told to forget it. */
  readonly forgetting = new Set<string>();
  /** Newest commit the buddy has. */
  storedN = 0;
  /** First of the commits that were sent because the buddy lacked them, until it has that one. */
  resumedFromN: number | undefined;
  /** Since when it waits for the replica at its next buddy; undefined if it does not. */
  bereavedSinceMs: number | undefined;
  /** In the middle of a planned move: it goes on being replicated, and emits nothing. */
  isHeld = false;
  /** What the access point was last told of its buddy. */
  toldBuddy: string | undefined;

  /** The application has called for a commit here and now. */
  isAsked = false;

  /** The last busy token was given back. */
  wentIdle(): void {}

  /**
   * Whether what happened can wait: `acknowledgement` for one of the commits on their way, `time` for more input,
   * undefined if it should be committed now.
   */
  get waitsFor(): 'acknowledgement' | 'time' | undefined {
    return undefined;
  }

  /** Its buddy has the newest commits, and nobody has older ones. */
  get isReady(): boolean {
    return this.buddy !== undefined && this.storedN > 0 && this.formerBuddies.size === 0;
  }
}

/** One session that is replicated. */
export interface ReplicatedSession extends BuddyPlace, ClosingParty {
  readonly session: Session;
  readonly settings: ProtectionSettings;
  readonly flow: Flow;
  /** What was made so far, and what a buddy lacks of it. */
  readonly owner: { readonly n: number; resume(buddyHas: number): Commit[] };
  /** Nothing is promised any more. */
  readonly isOver: boolean;
  /** Its connection is over, or served elsewhere. */
  over(): void;
  /** What is to be replicated now; undefined if nothing is. */
  makeCommit(): Commit | undefined;
  /** The buddy has everything up to commit `n`. */
  committed(n: number): void;
}
