/**
 * The life cycle of one move as data: what each state waits for, and what each event does there.
 *
 * Pure: events in, the next state and the names of actions out; `move.ts` performs them. It is a table and not a chain
 * of awaits because most of it is failure: a reader can check the columns "source lost" and "target lost" from top to
 * bottom against docs/architecture.md, and a model test can walk all interleavings of it.
 */
import type { MoveStep } from '@restitch/wire/internal';

/** Where a move stands. */
export type MoveState =
  /** The target was asked for a place. */
  | 'reserving'
  /** The source was asked to check the socket and to reach a safe point. */
  | 'preparing'
  /** Both are ready; others are between hold and switch. */
  | 'waiting'
  /** The record is being set to hold. */
  | 'holding'
  /** The source was asked to freeze and to send the image. */
  | 'freezing'
  /** The source was busy; the hold is off, a new try follows. */
  | 'backing-off'
  /** The source has frozen; the target has not spoken yet. */
  | 'frozen'
  /** The target has spoken before the source's reply came. */
  | 'thawed-first'
  /** The source was lost after it was asked to freeze: the image may be under way to the target. */
  | 'source-gone'
  /** The record is being switched: the one commit point. */
  | 'switching'
  /** The target was told to leave repair. */
  | 'activating'
  /** Committed, but the target was lost before it answered; it may come back and be activated then. */
  | 'awaiting-target'
  /** The target serves; the client's own acknowledgement is waited for. */
  | 'confirming'
  /** The source was told to drop its frozen socket. */
  | 'releasing'
  /** The source was told to serve again in place. */
  | 'reverting'
  | MoveOutcome;

/**
 * How a move ends. committed: the record names the target. refused: ended before anything was held or frozen.
 * reverted: the source serves again. failed: nobody can say yet, or nobody any more, that somebody serves.
 */
export type MoveOutcome = 'committed' | 'refused' | 'reverted' | 'failed';

/** What can happen to a move. */
export const moveEvents = [
  'reserved',
  'prepared',
  /** There is room between hold and switch. */
  'admitted',
  'held',
  'hold-refused',
  'frozen',
  /** The source did not reach a safe point, and another try is allowed. */
  'busy',
  'thawed',
  'thaw-failed',
  'switched',
  'switch-refused',
  'activated',
  'confirmed',
  'released',
  'reverted',
  'source-refused',
  'target-refused',
  'source-lost',
  'target-lost',
  'session-ended',
  'deadline',
  /** The operator gave it up. */
  'cancel',
] as const;
/** What can happen to a move. */
export type MoveEvent = (typeof moveEvents)[number];

/** What the driver is to do; requests to a lost party come back as its lost event. */
export type MoveAction =
  | 'send-prepare'
  | 'ask-admission'
  | 'hold'
  | 'send-freeze'
  | 'mark-frozen'
  | 'switch'
  | 'send-activate'
  | 'release-hold'
  | 'send-release'
  | 'send-abort'
  | 'send-revert'
  /** The outcome is committed, but nobody saw the client's acknowledgement. */
  | 'mark-unconfirmed'
  /** A party that does not answer what must be answered is disconnected: it reconnects and is reconciled. */
  | 'drop-source'
  | 'drop-target';

/** Which of the configured deadlines runs in a state; `budget` runs on from hold to switch. */
export type MoveDeadline =
  | 'reserve'
  | 'prepare'
  | 'budget'
  | 'backOff'
  | 'activate'
  | 'confirm'
  | 'release'
  | 'revert';

/** One cell of the table. */
export interface Transition {
  readonly to: MoveState;
  readonly act: readonly MoveAction[];
}

interface StateRow {
  readonly deadline: MoveDeadline;
  readonly on: Readonly<Partial<Record<MoveEvent, Transition>>>;
  /** May come here and means nothing. What is in neither list cannot come. */
  readonly ignores: readonly MoveEvent[];
}

const go = (to: MoveState, ...act: MoveAction[]): Transition => ({ to, act });

const undo = go('reverting', 'send-abort', 'send-revert');

/** The whole life cycle. */
export const lifeCycle: Readonly<Record<Exclude<MoveState, MoveOutcome>, StateRow>> = {
  reserving: {
    deadline: 'reserve',
    on: {
      reserved: go('preparing', 'send-prepare'),
      'target-refused': go('refused'),
      'target-lost': go('refused'),
      'source-lost': go('refused', 'send-abort'),
      'session-ended': go('refused', 'send-abort'),
      deadline: go('refused', 'send-abort'),
      cancel: go('refused', 'send-abort'),
    },
    ignores: [],
  },
  preparing: {
    deadline: 'prepare',
    on: {
      prepared: go('waiting', 'ask-admission'),
      'source-refused': go('refused', 'send-abort'),
      'source-lost': go('refused', 'send-abort'),
      'target-lost': go('refused', 'send-revert'),
      'session-ended': go('refused', 'send-abort'),
      deadline: go('refused', 'send-abort', 'send-revert'),
      cancel: go('refused', 'send-abort', 'send-revert'),
    },
    ignores: [],
  },
  waiting: {
    deadline: 'prepare',
    on: {
      admitted: go('holding', 'hold'),
      'source-lost': go('refused', 'send-abort'),
      'target-lost': go('refused', 'send-revert'),
      'session-ended': go('refused', 'send-abort'),
      deadline: go('refused', 'send-abort', 'send-revert'),
      cancel: go('refused', 'send-abort', 'send-revert'),
    },
    ignores: [],
  },
  holding: {
    deadline: 'budget',
    on: {
      held: go('freezing', 'send-freeze'),
      'hold-refused': go('refused', 'send-abort', 'send-revert'),
      'source-lost': go('refused', 'send-abort', 'release-hold'),
      'target-lost': go('refused', 'send-revert', 'release-hold'),
      'session-ended': go('refused', 'send-abort', 'release-hold'),
      deadline: go('refused', 'send-abort', 'send-revert', 'release-hold'),
      cancel: go('refused', 'send-abort', 'send-revert', 'release-hold'),
    },
    ignores: ['confirmed'],
  },
  freezing: {
    deadline: 'budget',
    on: {
      frozen: go('frozen', 'mark-frozen'),
      thawed: go('thawed-first'),
      busy: go('backing-off', 'release-hold'),
      'thaw-failed': undo,
      'source-refused': undo,
      'source-lost': go('source-gone'),
      'target-lost': go('reverting', 'send-revert'),
      'session-ended': go('refused', 'send-abort', 'release-hold'),
      deadline: undo,
      cancel: undo,
    },
    ignores: [],
  },
  'backing-off': {
    deadline: 'backOff',
    on: {
      deadline: go('waiting', 'ask-admission'),
      'source-lost': go('refused', 'send-abort'),
      'target-lost': go('refused', 'send-revert'),
      'session-ended': go('refused', 'send-abort'),
      cancel: go('refused', 'send-abort', 'send-revert'),
    },
    ignores: [],
  },
  frozen: {
    deadline: 'budget',
    on: {
      thawed: go('switching', 'switch'),
      'thaw-failed': undo,
      'source-lost': go('source-gone'),
      'target-lost': go('reverting', 'send-revert'),
      'session-ended': go('failed', 'send-abort', 'release-hold'),
      deadline: undo,
      cancel: undo,
    },
    ignores: [],
  },
  'thawed-first': {
    deadline: 'budget',
    on: {
      frozen: go('switching', 'mark-frozen', 'switch'),
      // The target holds the image, so the source has frozen and stays so until told otherwise.
      'source-lost': go('switching', 'mark-frozen', 'switch'),
      busy: undo,
      'source-refused': undo,
      'thaw-failed': undo,
      'target-lost': go('reverting', 'send-revert'),
      'session-ended': undo,
      deadline: undo,
      cancel: undo,
    },
    ignores: [],
  },
  'source-gone': {
    deadline: 'budget',
    on: {
      thawed: go('switching', 'mark-frozen', 'switch'),
      'thaw-failed': go('failed', 'send-abort'),
      'target-lost': go('failed'),
      deadline: go('failed', 'send-abort'),
      cancel: go('failed', 'send-abort'),
    },
    ignores: ['source-lost', 'source-refused', 'session-ended', 'frozen', 'busy'],
  },
  switching: {
    deadline: 'activate',
    on: {
      switched: go('activating', 'send-activate'),
      'switch-refused': undo,
    },
    // The record decides within this turn; who is lost meanwhile is found out by the next request to it.
    ignores: [
      'source-lost',
      'target-lost',
      'session-ended',
      'thaw-failed',
      'source-refused',
      'deadline',
      'cancel',
    ],
  },
  activating: {
    deadline: 'activate',
    on: {
      activated: go('confirming', 'release-hold'),
      confirmed: go('releasing', 'release-hold', 'send-release'),
      'target-refused': go('failed', 'release-hold', 'send-release'),
      'target-lost': go('awaiting-target'),
      'session-ended': go('releasing', 'mark-unconfirmed', 'release-hold', 'send-release'),
      deadline: go('releasing', 'mark-unconfirmed', 'drop-target', 'send-release'),
    },
    ignores: ['source-lost', 'source-refused', 'thaw-failed', 'cancel'],
  },
  'awaiting-target': {
    deadline: 'confirm',
    on: {
      activated: go('confirming', 'release-hold'),
      confirmed: go('releasing', 'release-hold', 'send-release'),
      'session-ended': go('releasing', 'mark-unconfirmed', 'send-release'),
      deadline: go('releasing', 'mark-unconfirmed', 'send-release'),
    },
    ignores: ['source-lost', 'target-lost', 'source-refused', 'target-refused', 'thaw-failed', 'cancel'],
  },
  confirming: {
    deadline: 'confirm',
    on: {
      confirmed: go('releasing', 'send-release'),
      'target-lost': go('releasing', 'mark-unconfirmed', 'send-release'),
      'session-ended': go('releasing', 'mark-unconfirmed', 'send-release'),
      deadline: go('releasing', 'mark-unconfirmed', 'send-release'),
    },
    ignores: ['source-lost', 'source-refused', 'target-refused', 'activated', 'thaw-failed', 'cancel'],
  },
  releasing: {
    deadline: 'release',
    on: {
      released: go('committed'),
      'source-refused': go('committed'),
      'source-lost': go('committed'),
      deadline: go('committed', 'drop-source'),
    },
    ignores: [
      'confirmed',
      'activated',
      'target-lost',
      'target-refused',
      'session-ended',
      'thaw-failed',
      'cancel',
    ],
  },
  reverting: {
    deadline: 'revert',
    on: {
      reverted: go('reverted', 'release-hold'),
      // The source does not know the session any more: it ended there, or died there.
      'source-refused': go('failed', 'release-hold'),
      'source-lost': go('failed'),
      deadline: go('failed', 'drop-source'),
    },
    ignores: [
      'frozen',
      'busy',
      'thawed',
      'thaw-failed',
      'target-lost',
      'target-refused',
      'session-ended',
      'cancel',
    ],
  },
};

/** States between hold and switch: packets are kept, and every move there makes the others slower. */
export const holdStates: ReadonlySet<MoveState> = new Set<MoveState>([
  'holding',
  'freezing',
  'frozen',
  'thawed-first',
  'source-gone',
  'switching',
]);

/** True for the four ends. */
export function isMoveOutcome(state: MoveState): state is MoveOutcome {
  return state === 'committed' || state === 'refused' || state === 'reverted' || state === 'failed';
}

/** The next state and what to do; `ignored` where the event means nothing, `impossible` where it cannot come. */
export function nextMoveState(state: MoveState, event: MoveEvent): Transition | 'ignored' | 'impossible' {
  if (isMoveOutcome(state)) return 'ignored';
  const row = lifeCycle[state];
  return row.on[event] ?? (row.ignores.includes(event) ? 'ignored' : 'impossible');
}

/** The operator's word for a state: the step of docs/architecture.md in which a failure is reported. */
export const stepOfState: Readonly<Record<Exclude<MoveState, MoveOutcome>, MoveStep>> = {
  reserving: 'reserve',
  preparing: 'prepare',
  waiting: 'hold',
  holding: 'hold',
  freezing: 'freeze',
  'backing-off': 'freeze',
  frozen: 'thaw',
  'thawed-first': 'freeze',
  'source-gone': 'transfer',
  switching: 'switch',
  activating: 'activate',
  'awaiting-target': 'activate',
  confirming: 'confirm',
  releasing: 'release',
  reverting: 'revert',
};
