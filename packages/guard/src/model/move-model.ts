/**
 * A planned move of a protected session as a model: source A with its buddy B, target T with its buddy C, an access
 * point, a client; X is whoever takes over. Every interleaving of freeze, image, replication, switch, revert, release,
 * death, false alarm and take-over, in every phase of the session: its application may end its output, and be through, so that
 * a tail is moved that no application stands for.
 *
 * Leases are explored by crash-model.ts: here a lease has simply ended before anything is taken over. Commits may be
 * delayed as long as they like, for a buddy may take any prefix of what its owner has made.
 */
import type { ProtectionLevel } from '../levels.js';
import {
  ackableOffset,
  afterMove,
  judgeCommit,
  judgeEgress,
  mayPromiseEnd,
  sendableOffset,
} from '../rules.js';
import { bitsOf } from './crash-model.js';
import { keyOfSmall, type Model } from './explore.js';

/** Mistakes the exploration must find. */
export type PlantedMoveBug =
  | 'switch-before-the-target-is-protected'
  | 'frozen-source-emits'
  | 'old-replica-taken-for-the-new'
  | 'buddy-forgets-at-the-freeze'
  | 'take-over-without-compare'
  | 'revert-without-compare'
  | 'target-opens-its-gate-with-the-image'
  | 'image-without-the-end'
  | 'buddy-of-the-target-without-the-end'
  | 'tail-waits-for-an-application'
  | 'replica-forgotten-at-the-close'
  | 'source-lets-its-resets-pass';

/** Size of the configuration. */
export interface MoveModelOptions {
  readonly bugs?: readonly PlantedMoveBug[];
  /** Bytes the client sends. */
  readonly bytes?: number;
  /** How far its applications go: 0 they never end, 1 they end their output, 2 they are through as well. */
  readonly ends?: number;
}

/** Numbers and short strings only, so that a state's key is its values. */
export interface MoveModelState {
  readonly sent: number;
  /** Ever emitted: highest acknowledgement, and output (2 bits a position). */
  readonly acked: number;
  readonly values: number;
  /** FINs ever emitted, bit per place. */
  readonly fins: number;
  /**
   * A: alive, lease, 0 live 1 frozen 2 gone; bytes received, answers, application 0 open 1 has ended 2 is through, newest commit it
   * knows of. A commit's number counts answers, the end, and that the application is through.
   */
  readonly aUp: number;
  readonly aLease: number;
  readonly aPhase: number;
  readonly aGot: number;
  readonly aOut: string;
  readonly aEnd: number;
  readonly aTold: number;
  /** B: newest commit of A's epoch; −1: forgotten. */
  readonly bHas: number;
  /** Image under way: bytes received and answers, as A froze; '-' none. */
  readonly imageGot: number;
  readonly imageOut: string;
  readonly imageEnd: number;
  /** T: alive, lease, 0 nothing 1 pending 2 serves 3 dropped; as A. */
  readonly tUp: number;
  readonly tLease: number;
  readonly tPhase: number;
  readonly tGot: number;
  readonly tOut: string;
  readonly tEnd: number;
  readonly tTold: number;
  /** C: newest commit of T's epoch; −1: none yet. */
  readonly cHas: number;
  /** Access point: 0 no move, 1 under way, 2 given up, 3 switched. */
  readonly move: number;
  /** The record: 0 A, 1 T, 2 X. */
  readonly owner: number;
  /** X: 0 nobody, 1 serves; as A; 2: the session is lost. */
  readonly xPhase: number;
  readonly xGot: number;
  readonly xOut: string;
  readonly xEnd: number;
}

const initial: MoveModelState = {
  sent: 0,
  acked: 0,
  values: 0,
  fins: 0,
  aUp: 1,
  aLease: 1,
  aPhase: 0,
  aGot: 0,
  aOut: '',
  aEnd: 0,
  aTold: 0,
  bHas: 0,
  imageGot: 0,
  imageOut: '-',
  imageEnd: 0,
  tUp: 1,
  tLease: 1,
  tPhase: 0,
  tGot: 0,
  tOut: '',
  tEnd: 0,
  tTold: -1,
  cHas: -1,
  move: 0,
  owner: 0,
  xPhase: 0,
  xGot: 0,
  xOut: '',
  xEnd: 0,
};

type Emit = (what: string, state: MoveModelState) => void;
interface Context {
  readonly bytes: number;
  readonly ends: number;
  readonly has: (bug: PlantedMoveBug) => boolean;
}

/** The model for an exploration. */
export function createMoveModel(options: MoveModelOptions = {}): Model<MoveModelState> {
  const bugs = new Set(options.bugs ?? []);
  const context: Context = {
    bytes: options.bytes ?? 2,
    ends: options.ends ?? 2,
    has: (bug) => bugs.has(bug),
  };
  return {
    initial,
    keyOf: keyOfSmall,
    next(s, emit) {
      if (s.sent < context.bytes) emit('client sends', { ...s, sent: s.sent + 1 });
      nextOfSource(s, emit, context);
      nextOfTarget(s, emit, context);
      nextOfBuddies(s, emit, context);
      nextOfMove(s, emit, context);
      nextOfTakeOver(s, emit, context);
    },
    violations: (s) => violations(s, context),
    seen,
    liveness: {
      name: 'nobody delivers it',
      isGoal,
      isChoice: (what) => choices.test(what),
    },
  };
}

/** What may happen, and need not. */
const choices = /^(client sends|A dies|T dies|[AT] answers|the application|A freezes|the lease of a living)/;

const aCanEmit = (s: MoveModelState): boolean => s.aUp === 1 && s.aLease === 1 && s.aPhase === 0;
const aMayEmit = (s: MoveModelState, context: Context): boolean =>
  aCanEmit(s) || (context.has('frozen-source-emits') && s.aUp === 1 && s.aLease === 1 && s.aPhase === 1);
const tCanEmit = (s: MoveModelState): boolean => s.tUp === 1 && s.tLease === 1 && s.tPhase === 2;

function nextOfSource(s: MoveModelState, emit: Emit, context: Context): void {
  if (s.aUp === 0) return;
  emit('A dies', { ...s, aUp: 0 });
  // A frozen session still hears of commits; they take effect when it is served again.
  if (s.aTold < s.bHas) emit('A learns of a commit', { ...s, aTold: s.aTold + 1 });
  if (aMayEmit(s, context)) emit('A emits', emitted(s, s.aGot, s.aOut, s.aTold));
  if (s.aPhase !== 0) return;
  if (s.aEnd === 2 && s.bHas >= 0 && context.has('replica-forgotten-at-the-close'))
    emit('B forgets', { ...s, bHas: -1 });
  if (s.aGot < s.sent) emit('A receives', { ...s, aGot: s.aGot + 1 });
  if (s.aEnd < context.ends) emit(`the application of A ends (${s.aEnd})`, { ...s, aEnd: s.aEnd + 1 });
  if (s.aEnd === 0 && s.aOut.length < s.aGot)
    for (const v of ['0', '1']) emit(`A answers ${v}`, { ...s, aOut: s.aOut + v });
}

function nextOfTarget(s: MoveModelState, emit: Emit, context: Context): void {
  if (s.tUp === 0) return;
  emit('T dies', { ...s, tUp: 0 });
  if (s.imageOut !== '-' && s.tPhase === 0) {
    const told = context.has('target-opens-its-gate-with-the-image') ? s.imageOut.length : -1;
    const tEnd = context.has('image-without-the-end') ? 0 : s.imageEnd;
    emit('T gets the image', { ...s, tPhase: 1, tGot: s.imageGot, tOut: s.imageOut, tEnd, tTold: told });
  }
  if (s.move === 2 && s.tPhase < 2) emit('T drops its copy', { ...s, tPhase: 3, cHas: -1, tTold: -1 });
  const waits = context.has('tail-waits-for-an-application') && s.tEnd === 2;
  if (s.owner === 1 && s.tPhase === 1 && !waits) emit('T serves', { ...s, tPhase: 2 });
  if (s.tPhase > 0 && s.tTold < s.cHas) emit('T learns of a commit', { ...s, tTold: s.cHas });
  if (s.tPhase !== 2) return;
  if (s.tGot < s.sent) emit('T receives', { ...s, tGot: s.tGot + 1 });
  if (s.tEnd < context.ends) emit(`the application of T ends (${s.tEnd})`, { ...s, tEnd: s.tEnd + 1 });
  if (s.tEnd === 0 && s.tOut.length < s.tGot)
    for (const v of ['0', '1']) emit(`T answers ${v}`, { ...s, tOut: s.tOut + v });
  if (tCanEmit(s)) emit('T emits', emitted(s, s.tGot, s.tOut, Math.max(0, s.tTold)));
}

function nextOfBuddies(s: MoveModelState, emit: Emit, context: Context): void {
  for (let n = 1; n <= s.aOut.length + s.aEnd && s.bHas >= 0; n++) {
    const verdict = judgeCommit(
      { epoch: 1, n: s.bHas, isFenced: s.owner === 2 },
      { epoch: 1, n, isSnapshot: false },
    );
    if (verdict === 'apply') emit(`B stores commit ${n}`, { ...s, bHas: n });
  }
  if (s.tPhase !== 1 && s.tPhase !== 2) return;
  // The mistaken one says nothing of the end, and T takes its own for promised.
  const isSilent = context.has('buddy-of-the-target-without-the-end');
  if (isSilent && s.tEnd > 0 && s.cHas >= s.tOut.length && s.tTold <= s.cHas)
    emit('T promises its end', { ...s, tTold: s.tOut.length + 1 });
  for (let n = Math.max(0, s.cHas + 1); n <= s.tOut.length + (isSilent ? 0 : s.tEnd); n++) {
    const known = s.cHas < 0 ? undefined : { epoch: 2, n: s.cHas + 1, isFenced: s.owner === 2 };
    // The first commit is a snapshot of all there is.
    const isSnapshot = s.cHas < 0 && n === s.imageOut.length + (isSilent ? 0 : s.tEnd);
    if (judgeCommit(known, { epoch: 2, n: n + 1, isSnapshot }) === 'apply')
      emit(`C stores commit ${n}`, { ...s, cHas: n });
  }
}

function nextOfMove(s: MoveModelState, emit: Emit, context: Context): void {
  if (s.move === 0 && aCanEmit(s)) {
    const bHas = context.has('buddy-forgets-at-the-freeze') ? -1 : s.bHas;
    emit('A freezes', {
      ...s,
      move: 1,
      aPhase: 1,
      imageGot: s.aGot,
      imageOut: s.aOut,
      imageEnd: s.aEnd,
      bHas,
    });
  }
  const isProtected = s.tTold >= 0 || context.has('switch-before-the-target-is-protected');
  // The target is not suspect: its lease runs. It may die at any time all the same.
  if (s.move === 1 && s.owner === 0 && s.tPhase === 1 && isProtected && s.tLease === 1) {
    emit('access point switches to T', { ...s, move: 3, owner: 1 });
  }
  const mayRevert = s.move === 1 || (s.move === 3 && context.has('revert-without-compare'));
  if (mayRevert) emit('access point gives the move up', { ...s, move: 2 });
  if (s.move === 2 && s.aPhase === 1 && s.aUp === 1) emit('A serves again', { ...s, aPhase: 0 });
  if (s.move === 3 && s.tPhase === 2 && s.aPhase === 1) emit('A lets go', { ...s, aPhase: 2, bHas: -1 });
}

function nextOfTakeOver(s: MoveModelState, emit: Emit, context: Context): void {
  // Declared dead rightly or by a false alarm: its lease has ended either way before anybody is asked.
  const nameOf = (isUp: number): string => (isUp === 1 ? 'the lease of a living' : 'the lease of a dead');
  if (s.aLease === 1) emit(`${nameOf(s.aUp)} A ends`, { ...s, aLease: 0 });
  if (s.tLease === 1 && s.tPhase > 0) emit(`${nameOf(s.tUp)} T ends`, { ...s, tLease: 0 });
  if (s.xPhase !== 0) return;
  const isOfA = s.owner === 0 || (s.owner === 1 && context.has('take-over-without-compare'));
  if (s.aLease === 0 && isOfA) emit('A is taken over', takenOver(s, s.bHas, s.aOut));
  if (s.tLease === 0 && s.owner === 1) {
    const isOld = context.has('old-replica-taken-for-the-new') && s.bHas >= 0;
    emit('T is taken over', isOld ? takenOver(s, s.bHas, s.aOut) : takenOver(s, s.cHas, s.tOut));
  }
}

function takenOver(s: MoveModelState, has: number, out: string): MoveModelState {
  if (has < 0) return { ...s, owner: 2, xPhase: 2 };
  const xOut = out.slice(0, has);
  return { ...s, owner: 2, xPhase: 1, xGot: xOut.length, xOut, xEnd: has - xOut.length };
}

const served = { isAllInSocket: true, isLeased: true } as const;

function emitted(s: MoveModelState, got: number, out: string, told: number): MoveModelState {
  const sendable = sendableOffset(out.length, told);
  const finSeq = mayPromiseEnd('commit', { isEndAtBuddy: told > out.length, ...served })
    ? out.length
    : undefined;
  const entry = {
    level: 'commit',
    epoch: 1,
    finSeq,
    mayReset: false,
    isLeased: true,
    wasLeased: true,
  } as const;
  const isFinOut = judgeEgress(entry, { fin: true, rst: false, at: sendable }) !== 'drop';
  return {
    ...s,
    // The end's own commits cover no input.
    acked: Math.max(s.acked, ackableOffset(got, sendable)),
    values: s.values | bitsOf(out.slice(0, sendable)),
    fins: isFinOut ? s.fins | (1 << sendable) : s.fins,
  };
}

function violations(s: MoveModelState, context: Context): string[] {
  const found: string[] = [];
  const emitters = [aMayEmit(s, context), tCanEmit(s), s.xPhase === 1].filter(Boolean).length;
  if (emitters > 1) found.push('two may emit');
  if (s.xPhase === 2) found.push('a session is lost though nobody but its owner died');
  // What whoever goes on after the owner's death would have.
  const [has, out] =
    s.owner === 0 ? [s.bHas, s.aOut] : s.owner === 1 ? [s.cHas, s.tOut] : [s.xOut.length + s.xEnd, s.xOut];
  if (s.acked > Math.min(has, out.length)) found.push('an acknowledged byte is on one machine alone');
  const kept = bitsOf(out.slice(0, Math.max(0, has)));
  if ((s.values & ~kept) !== 0) found.push('an emitted byte is contradicted');
  if (s.fins !== 0 && (has <= out.length || s.fins !== 1 << out.length)) found.push('a FIN is contradicted');
  if (s.aPhase === 2 && letsResetsPass(s, context)) found.push('the session is reset by its source');
  return found;
}

/** Whether a stray packet at the source, which has let go of the session, would end it, whatever its level. */
function letsResetsPass(s: MoveModelState, context: Context): boolean {
  return (['none', 'periodic', 'commit'] satisfies ProtectionLevel[]).some((level) => {
    const finSeq = s.imageEnd > 0 ? s.imageOut.length : undefined;
    const before = { level, epoch: 1, finSeq, mayReset: false, isLeased: s.aLease === 1, wasLeased: true };
    const entry = context.has('source-lets-its-resets-pass') ? before : afterMove(before);
    return ['pass', 'gate', 'reset'].includes(judgeEgress(entry, { fin: false, rst: true, at: 0 }));
  });
}

/** Whoever has it has put everything of it on the way that there is, and lives; X, whose life is not told, stands for that. */
function isGoal(s: MoveModelState): boolean {
  if (s.owner === 2) return s.xPhase === 1;
  const isServed = s.owner === 0 ? aCanEmit(s) : tCanEmit(s);
  const [out, end] = s.owner === 0 ? [s.aOut, s.aEnd] : [s.tOut, s.tEnd];
  return isServed && s.values === bitsOf(out) && (end === 0 || s.fins === 1 << out.length);
}

function seen(s: MoveModelState): string[] {
  const found: string[] = [];
  if (s.tPhase === 2 && s.acked > 0) found.push('served by the target');
  if (s.tPhase === 2 && s.tOut.length > s.imageOut.length) found.push('answered by the target');
  if (s.move === 2 && s.aPhase === 0 && s.aUp === 1) found.push('served on by the source');
  if (s.xPhase === 1 && s.move === 1) found.push('taken over in the middle of the move');
  if (s.xPhase === 1 && s.move === 3) found.push('taken over from the target');
  if (s.xPhase === 1 && s.move === 3 && s.tUp === 1) found.push('taken over from a living target');
  if (s.owner === 1 && s.aUp === 0 && s.tPhase === 2) found.push('moved away from a dead source');
  if (s.owner === 2 && s.tPhase === 1) found.push('the take-over was faster than the move');
  if (s.imageEnd === 2 && s.tPhase === 2 && s.fins !== 0) found.push('a tail delivered by the target');
  if (s.imageEnd === 1 && s.move === 2 && s.aPhase === 0 && s.fins !== 0) found.push('an end after a revert');
  if (s.imageEnd > 0 && s.xEnd > 0 && s.move === 3) found.push('a tail taken over from the target');
  return found;
}
