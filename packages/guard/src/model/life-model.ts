/**
 * The life of one connection from its SYN to its end: handshake, accept queue, service, both ends of the stream in either
 * order, a tail without an application; deaths of process, host and buddy, stops and false alarms, at any moment.
 *
 * Commits, leases and doubled messages in detail are crash-model.ts's, planned moves move-model.ts's: here a lease has
 * simply ended, a commit is what its buddy has of the owner at some moment, and the owner hears of it some time later.
 * The network is a set that only grows, as there. Client positions are sequence numbers counted from 0: a byte, an urgent byte and the FIN
 * take one each. All decisions are those of rules.ts; `bugs` replaces one by a plausible mistake.
 */
import type { ProtectionLevel } from '../levels.js';
import {
  ackableOffset,
  ackableSeq,
  type Fate,
  fateOf,
  finishes,
  isOver,
  judgeEgress,
  keepsHalfOpen,
  mayHaveBeenSent,
  mayPromiseEnd,
  sendableOffset,
} from '../rules.js';
import { bitsOf } from './crash-model.js';
import { keyOfSmall, type Model } from './explore.js';

/** Mistakes the exploration must find. */
export type PlantedLifeBug =
  | 'fin-guard-lifted-by-the-end'
  | 'end-opens-the-gate'
  | 'end-promised-before-its-commit'
  | 'end-promised-before-its-bytes-are-in-the-socket'
  | 'end-promised-without-a-lease'
  | 'replica-forgotten-at-the-close'
  | 'urgent-byte-not-counted'
  | 'accept-queue-reset-dropped'
  | 'accept-queue-of-a-dead-host-forgotten'
  | 'half-open-affinity-to-the-dead'
  | 'successor-has-not-sent-the-fin'
  | 'ended-session-reset-at-the-death'
  | 'replica-without-the-end';

/** Size of the configuration. */
export interface LifeModelOptions {
  readonly level: ProtectionLevel;
  readonly bugs?: readonly PlantedLifeBug[];
  /** Bytes the client sends, and the application writes. */
  readonly input?: number;
  readonly output?: number;
  /** Which of the client's bytes is urgent; none by default. */
  readonly urgentAt?: number;
  /** Begins with the SYN instead of in the accept queue. */
  readonly handshake?: boolean;
}

/** Numbers and short strings only, so that a state's key is its values. */
export interface LifeState {
  /** Client: 0 nothing, 1 SYN sent, 2 established, 3 by another endpoint; bytes sent; FIN sent; output got; our FIN got; reset. */
  readonly client: number;
  readonly sent: number;
  readonly ended: number;
  readonly got: number;
  readonly eof: number;
  readonly reset: number;
  /** Ever emitted: highest acknowledgement, output (2 bits a position), FINs (bit per place), an RST. */
  readonly acks: number;
  readonly values: number;
  readonly fins: number;
  readonly rst: number;
  /** A: host up; process 0 dead 1 runs 2 is stopped; kernel got; application 0 not accepted 1 open 2 ended 3 through; output, and how much the socket has. */
  readonly host: number;
  readonly process: number;
  readonly received: number;
  readonly app: number;
  readonly out: string;
  readonly inSocket: number;
  /** Lease of A ended; its socket was reset by its own kernel. */
  readonly fenced: number;
  readonly torn: number;
  /** A's guard: committed input and output, and the end is promised. */
  readonly openTo: number;
  readonly sendable: number;
  readonly promised: number;
  /** Buddy: input it has (−1 no replica), output length, application as in `app`; one buddy has died. */
  readonly has: number;
  readonly kept: number;
  readonly keptApp: number;
  readonly buddyDied: number;
  /** Record: 0 A, 1 successor, 2 reset by the access point, 3 over. */
  readonly owner: number;
  /** Successor: received, application, output, its kernel's snd_nxt (our FIN counted). */
  readonly sReceived: number;
  readonly sApp: number;
  readonly sOut: string;
  readonly sNext: number;
}

const initial: LifeState = {
  client: 2,
  sent: 0,
  ended: 0,
  got: 0,
  eof: 0,
  reset: 0,
  acks: 0,
  values: 0,
  fins: 0,
  rst: 0,
  host: 1,
  process: 1,
  received: 0,
  app: 0,
  out: '',
  inSocket: 0,
  fenced: 0,
  torn: 0,
  openTo: 0,
  sendable: 0,
  promised: 0,
  has: -1,
  kept: 0,
  keptApp: 1,
  buddyDied: 0,
  owner: 0,
  sReceived: 0,
  sApp: 0,
  sOut: '',
  sNext: 0,
};

type Emit = (what: string, state: LifeState) => void;
interface Context {
  readonly level: ProtectionLevel;
  readonly input: number;
  readonly output: number;
  readonly urgentAt: number;
  readonly has: (bug: PlantedLifeBug) => boolean;
}

/** What somebody may do, or what may happen, and nobody has to. */
const choices =
  /^(the client (connects|sends|ends)|the application|the process|the host|the lease|the buddy)/;

/** The model for an exploration. */
export function createLifeModel(options: LifeModelOptions): Model<LifeState> {
  const bugs = new Set(options.bugs ?? []);
  const { level, input = 1, output = 1, urgentAt = -1, handshake = false } = options;
  const context: Context = { level, input, output, urgentAt, has: (bug) => bugs.has(bug) };
  return {
    initial: handshake ? { ...initial, client: 0 } : initial,
    keyOf: keyOfSmall,
    next(s, emit) {
      // A reset, the service of another endpoint, and both FINs acknowledged end the story.
      if (s.reset === 1 || s.client === 3 || s.owner === 3) return;
      nextOfClient(s, emit, context);
      if (s.owner === 2) return;
      nextOfHandshake(s, emit, context);
      nextOfApplication(s, emit, context);
      nextOfFaults(s, emit, context);
      nextOfKernel(s, emit, context);
      nextOfBuddy(s, emit, context);
      nextOfAccessPoint(s, emit, context);
      nextOfSuccessor(s, emit, context);
    },
    violations: (s) => violations(s, context),
    seen: (s) => seen(s, context),
    liveness: {
      name: 'neither served nor ended nor reset',
      isGoal: (s) => isAtRest(s),
      isChoice: (what) => choices.test(what),
    },
  };
}

const totalOf = (s: LifeState): number => s.sent + s.ended;

/** Sequence number behind the first `items` of what the client has sent: as the programs reckon it, from the stream. */
function seqOf(s: LifeState, items: number, context: Context): number {
  const bytes = Math.min(items, s.sent);
  const urgent = context.urgentAt >= 0 && bytes > context.urgentAt ? 1 : 0;
  const skipped = context.has('urgent-byte-not-counted') ? 0 : urgent;
  return ackableSeq({ clientStart: 0, inputEnd: bytes - urgent, skipped, fin: items > s.sent });
}

function nextOfClient(s: LifeState, emit: Emit, context: Context): void {
  if (s.client === 0) emit('the client connects', { ...s, client: 1 });
  if (s.client !== 2) return;
  if (s.sent < context.input && s.ended === 0) emit('the client sends', { ...s, sent: s.sent + 1 });
  if (s.ended === 0) emit('the client ends', { ...s, ended: 1 });
  if (s.rst === 1) emit('client gets the reset', { ...s, reset: 1 });
  if (s.eof === 1) return;
  if ((s.values >> (2 * s.got)) & 3) emit('client gets a byte', { ...s, got: s.got + 1 });
  if (s.fins & (1 << s.got)) emit('client gets our FIN', { ...s, eof: 1 });
}

function nextOfHandshake(s: LifeState, emit: Emit, context: Context): void {
  if (s.client === 1) {
    if (s.process !== 0) emit('A answers the SYN', { ...s, client: 2 });
    const isKnownDead = s.host === 0 || (s.process !== 1 && s.fenced === 1);
    const keeps =
      context.has('half-open-affinity-to-the-dead') || keepsHalfOpen(isKnownDead ? 'dead' : 'healthy');
    if (!keeps) emit('the repeated SYN gets another endpoint, as due', { ...s, client: 3 });
    return;
  }
  if (s.app !== 0 || s.client !== 2 || s.host === 0) return;
  // Whatever of it A's kernel does not know, or closes with its listener, it resets.
  const epoch = context.has('accept-queue-reset-dropped') ? 1 : 0;
  const entry = {
    level: context.level,
    epoch,
    finSeq: undefined,
    mayReset: false,
    isLeased: s.fenced === 0,
    wasLeased: true,
  };
  const verdict = judgeEgress(entry, { fin: false, rst: true, at: 0 });
  if (s.process === 0 && (verdict === 'pass' || verdict === 'gate'))
    emit('kernel of A resets its accept queue', { ...s, rst: 1 });
}

function nextOfApplication(s: LifeState, emit: Emit, context: Context): void {
  if (s.process !== 1 || s.client !== 2 || s.owner > 1) return;
  const { level } = context;
  const promise = {
    isEndAtBuddy: s.has < 0 || s.keptApp >= 2 || context.has('end-promised-before-its-commit'),
    isAllInSocket:
      s.inSocket === s.out.length || context.has('end-promised-before-its-bytes-are-in-the-socket'),
    isLeased: s.fenced === 0 || context.has('end-promised-without-a-lease'),
  };
  // In one turn with the shutdown. At level commit it comes with the commit (nextOfBuddy).
  const isDue = level !== 'commit' || context.has('end-promised-before-its-commit');
  if (s.app >= 2 && s.promised === 0 && isDue && mayPromiseEnd(level, promise))
    emit('A promises its end', { ...s, promised: 1 });
  // One that lives without its lease goes on, but nothing of it leaves.
  if (s.owner === 1) return;
  if (s.app === 0) emit('A accepts', { ...s, app: 1 });
  if (s.app === 1) {
    for (const v of s.out.length < context.output ? ['0', '1'] : [])
      emit(`the application of A writes ${v}`, { ...s, out: s.out + v });
    emit('the application of A ends', { ...s, app: 2 });
  }
  if (s.app === 2) emit('the application of A is through', { ...s, app: 3 });
  const end = level === 'commit' ? sendableOffset(s.out.length, s.sendable) : s.out.length;
  if (s.app > 0 && s.inSocket < end) emit('A writes to its socket', { ...s, inSocket: s.inSocket + 1 });
}

function nextOfFaults(s: LifeState, emit: Emit, context: Context): void {
  if (s.owner > 1) return;
  if (s.process === 2) emit('the process of A goes on', { ...s, process: 1 });
  if (s.owner === 1) return;
  if (s.host === 1) emit('the host of A dies', { ...s, host: 0, process: 0, fenced: 1 });
  if (s.process === 1) emit('the process of A stops', { ...s, process: 2 });
  if (s.process === 2 && s.fenced === 0) emit('nobody renews the lease of A', { ...s, fenced: 1 });
  if (s.process !== 0) {
    emit('the process of A dies', { ...s, process: 0 });
    // At level commit the guard drops that, too.
    if (s.app > 0 && context.level !== 'commit') {
      // With unread input its kernel resets instead of ending.
      const verdict = judgeEgress(entryOf(s, context), { fin: false, rst: true, at: s.inSocket });
      const rst = verdict === 'pass' || verdict === 'gate' ? 1 : s.rst;
      emit('the process of A dies with unread input', { ...s, process: 0, torn: 1, rst });
    }
    if (s.process === 1 && s.fenced === 0) emit('the lease of A ends though it lives', { ...s, fenced: 1 });
  }
  if (s.process === 0 && s.host === 1 && s.fenced === 0) emit('agent of A fences', { ...s, fenced: 1 });
  if (s.buddyDied === 0 && s.has >= 0)
    emit('the buddy dies, another is chosen', { ...s, buddyDied: 1, has: -1, kept: 0, keptApp: 1 });
}

const entryOf = (s: LifeState, { level }: Context): Parameters<typeof judgeEgress>[0] => ({
  level,
  epoch: 1,
  finSeq: s.promised === 1 ? s.out.length : undefined,
  mayReset: false,
  isLeased: s.fenced === 0,
  // What is promised here was, under it: see mayPromiseEnd.
  wasLeased: true,
});

function nextOfKernel(s: LifeState, emit: Emit, context: Context): void {
  if (s.host === 0 || s.client !== 2 || s.torn === 1 || s.owner !== 0) return;
  const isFinisher = s.process === 0 && s.promised === 1 && finishes(context.level) === 'kernel';
  if (s.received < totalOf(s)) {
    // A socket that nobody holds any more takes a FIN, but no data.
    const isData = s.received < s.sent;
    if (s.process !== 0 || !isData) emit('kernel of A receives', { ...s, received: s.received + 1 });
    else if (isFinisher) emit('kernel of A resets on further input', { ...s, rst: 1, torn: 1 });
  }
  const entry = entryOf(s, context);
  const verdict = judgeEgress(entry, { fin: false, rst: false, at: s.inSocket });
  if (s.app > 0 && verdict !== 'drop') {
    const isOpen = context.has('end-opens-the-gate') && s.promised === 1;
    const ack = verdict === 'gate' && !isOpen ? ackableOffset(s.received, s.openTo) : s.received;
    const values = s.values | bitsOf(s.out.slice(0, s.inSocket));
    emit('A emits', { ...s, acks: Math.max(s.acks, ack), values });
  }
  // Below commit the kernel acknowledges for an accept queue, too.
  if (s.app === 0 && s.process !== 0 && context.level !== 'commit')
    emit('A acknowledges', { ...s, acks: Math.max(s.acks, s.received) });
  // Through, and all delivered: what still comes it did not want, and the bound passes too.
  const byName = judgeEgress({ ...entry, mayReset: true }, { fin: false, rst: true, at: s.inSocket });
  if (s.app === 3 && s.process === 1 && s.eof === 1 && byName !== 'drop')
    emit('the application of A is through, and it is reset by name', { ...s, rst: 1 });
  // shutdown() behind the last byte, or the kernel's own at the process's death, wherever the socket's bytes end.
  const isMeant = s.promised === 1 && s.inSocket === s.out.length;
  if (s.app === 0 || (s.process !== 0 && !isMeant)) return;
  const isLifted = context.has('fin-guard-lifted-by-the-end') && s.promised === 1;
  const fate = isLifted ? 'pass' : judgeEgress(entry, { fin: true, rst: false, at: s.inSocket });
  if (fate === 'reset') emit('FIN of A becomes a reset', { ...s, rst: 1 });
  else if (fate !== 'drop') emit('A emits its FIN', { ...s, fins: s.fins | (1 << s.inSocket) });
}

function nextOfBuddy(s: LifeState, emit: Emit, context: Context): void {
  const { level } = context;
  if (level === 'none' || s.owner !== 0) return;
  const app = context.has('replica-without-the-end') ? 1 : s.app;
  const isNewer = s.has < s.received || s.kept < s.out.length || s.keptApp < app;
  if (s.process === 1 && s.app > 0 && isNewer)
    emit('buddy stores a commit', { ...s, has: s.received, kept: s.out.length, keptApp: app });
  if (s.process === 1 && s.app === 3 && s.has >= 0 && context.has('replica-forgotten-at-the-close'))
    emit('buddy forgets', { ...s, has: -1, kept: 0 });
  if (level !== 'commit' || s.process !== 1 || s.has < 0) return;
  // A hears some time later what its buddy has by now.
  const openTo = Math.max(s.openTo, seqOf(s, s.has, context));
  const told = context.has('replica-without-the-end') ? s.app : s.keptApp;
  const isEndAtBuddy = told >= 2 && s.kept === s.out.length;
  const promised = mayPromiseEnd(level, { isEndAtBuddy, isAllInSocket: false, isLeased: s.fenced === 0 })
    ? 1
    : s.promised;
  const sendable = Math.max(s.sendable, s.kept);
  if (openTo > s.openTo || sendable > s.sendable || promised > s.promised)
    emit('A hears of the commit', { ...s, openTo, sendable, promised });
}

function nextOfAccessPoint(s: LifeState, emit: Emit, context: Context): void {
  if (s.owner !== 0 || s.client !== 2) return;
  const isOurFinAcknowledged = s.eof === 1;
  const isClientFinAcknowledged = s.ended === 1 && s.acks === totalOf(s);
  const isDone = isOver({ isOurFinAcknowledged, isClientFinAcknowledged, isReset: false });
  if (isDone && (s.process !== 0 || s.host === 1)) emit('it is over', { ...s, owner: 3 });
  // Nothing is switched before the lease has ended, and a dead host's has.
  if (s.fenced === 0) return;
  const deaths = ['process', 'host', 'stop'] as const;
  const death = s.host === 0 ? 'host' : (deaths[s.process] ?? 'host');
  const phase = s.app === 0 ? 'accept-queue' : 'accepted';
  // Its agent says what its guard has promised. Of a host that nobody reaches (a living owner that was declared dead is on
  // one, too) nobody knows that: whatever end its buddy has may have been promised.
  const isEnded = death === 'host' ? s.has >= 0 && s.keptApp >= 2 : s.promised === 1;
  const fate = fateOf({ level: context.level, phase, isEnded, hasReplica: s.has >= 0 }, death);
  emitFate(fate, s, emit, context);
}

function emitFate(fate: Fate, s: LifeState, emit: Emit, context: Context): void {
  const reset = { ...s, rst: 1, owner: 2 };
  const isForgotten = context.has('accept-queue-of-a-dead-host-forgotten') && s.app === 0;
  const successor: LifeState = {
    ...s,
    // Of A only what may still leave matters from here on.
    ...{ received: 0, out: '', inSocket: 0, openTo: 0, sendable: 0, kept: 0 },
    owner: 1,
    sReceived: seqOf(s, s.has, context),
    sApp: s.keptApp,
    sOut: s.out.slice(0, s.kept),
    sNext: context.has('successor-has-not-sent-the-fin')
      ? s.kept
      : mayHaveBeenSent({ outputEnd: s.kept, isEnded: s.keptApp >= 2 }),
  };
  if (fate === 'reset-by-access-point' && !isForgotten) emit('access point resets', reset);
  if (fate === 'goes-on') emit('successor takes over', successor);
  if (fate === 'kernel-finishes' && context.has('ended-session-reset-at-the-death'))
    emit('access point resets', reset);
  if (fate === 'client-decides') {
    // The client's own words: where it stands in both directions.
    const agrees = totalOf(s) === s.has && s.got + s.eof <= s.kept;
    // They are waited for until all older packets have come or are lost (the SDK's client witness).
    const delivered = { ...successor, values: s.values & ((1 << (2 * s.got)) - 1) };
    emit(
      agrees ? 'successor goes on with the client’s word' : 'access point resets',
      agrees ? delivered : reset,
    );
  }
}

function nextOfSuccessor(s: LifeState, emit: Emit, context: Context): void {
  if (s.owner !== 1) return;
  const end = s.sOut.length;
  // An acknowledgement beyond snd_nxt is thrown away, and what comes with it.
  const isHeard = s.got + s.eof <= s.sNext;
  if (s.sApp === 1) {
    for (const v of end < context.output ? ['0', '1'] : [])
      emit(`the application of the successor writes ${v}`, { ...s, sOut: s.sOut + v });
    emit('the application of the successor ends', { ...s, sApp: 2 });
  }
  if (s.sApp === 2) emit('the application of the successor is through', { ...s, sApp: 3 });
  if (isHeard && s.sReceived < totalOf(s)) emit('successor receives', { ...s, sReceived: s.sReceived + 1 });
  if (s.sNext < end) emit('successor sends on', { ...s, sNext: s.sNext + 1 });
  // The mistaken one waits with its FIN until it hears that all before it has come.
  const waits = context.has('successor-has-not-sent-the-fin') && !(isHeard && s.got === end);
  if (s.sApp >= 2 && s.sNext === end && !waits) emit('successor sends its FIN', { ...s, sNext: end + 1 });
  const values = s.values | bitsOf(s.sOut.slice(0, s.sNext));
  const fins = s.sNext > end ? s.fins | (1 << end) : s.fins;
  emit('successor emits', { ...s, acks: Math.max(s.acks, s.sReceived), values, fins });
  const isClientFinAcknowledged = s.ended === 1 && s.acks === totalOf(s);
  if (isHeard && isOver({ isOurFinAcknowledged: s.eof === 1, isClientFinAcknowledged, isReset: false }))
    emit('it is over', { ...s, owner: 3 });
}

/** Nothing is owed to the client any more: served by a living owner, ended, reset. */
function isAtRest(s: LifeState): boolean {
  if (s.reset === 1 || s.client === 3 || s.client === 0 || s.owner === 3) return true;
  if (s.client === 1) return false;
  const isAcknowledged = s.acks === totalOf(s);
  if (s.owner === 1) {
    const isDelivered = s.sApp >= 2 ? s.eof === 1 : s.got === s.sOut.length;
    return isAcknowledged && isDelivered && s.sReceived === totalOf(s);
  }
  if (s.owner !== 0) return false;
  // A tail that its kernel has delivered, to a client that has not ended yet: the agent tells when the socket is gone.
  if (s.process !== 1) return s.host === 1 && s.eof === 1 && s.promised === 1 && s.sent === s.received;
  const isDelivered = s.app >= 2 ? s.eof === 1 : s.got === s.out.length;
  return s.fenced === 0 && s.app > 0 && isAcknowledged && isDelivered;
}

function violations(s: LifeState, { level }: Context): string[] {
  const found: string[] = [];
  const [app, out] = s.sApp > 0 ? [s.sApp, s.sOut] : [s.app, s.out];
  const end = app >= 2 ? out.length : -1;
  for (let at = 0; s.fins >> at > 0; at++) {
    if (!(s.fins & (1 << at))) continue;
    if (end !== at) found.push(s.sApp > 0 ? 'a FIN is contradicted' : 'a clean end before the last byte');
    if (s.values >> (2 * at) > 0) found.push('a byte behind a FIN');
  }
  for (let bits = s.values; bits > 0; bits >>= 2)
    if ((bits & 3) === 3) found.push('an emitted byte is contradicted');
  if (s.sApp > 0 && (s.values & ~bitsOf(s.sOut)) !== 0) found.push('an emitted byte is contradicted');
  if (level === 'commit') found.push(...violationsOfCommit(s));
  if (s.owner === 1 && s.host === 1 && s.torn === 0 && s.promised === 1 && finishes(level) === 'kernel')
    found.push('two may emit');
  if (
    s.owner === 2 &&
    s.host === 1 &&
    s.process !== 1 &&
    s.promised === 1 &&
    s.torn === 0 &&
    level !== 'commit'
  )
    found.push('a tail is cut that its kernel delivers');
  return found;
}

function violationsOfCommit(s: LifeState): string[] {
  const found: string[] = [];
  const atOwner = s.process === 1 && s.owner === 0 ? s.received : -1;
  const atSuccessor = s.owner === 1 ? s.sReceived : -1;
  const isExcused = s.owner === 3 || s.buddyDied === 1;
  if (!isExcused && s.acks > Math.max(0, atOwner, s.owner === 0 ? s.has : 0, atSuccessor))
    found.push('an acknowledged byte is nowhere');
  const isKnown = s.acks > 0 || s.values > 0 || s.fins > 0;
  if (s.owner === 2 && isKnown && s.buddyDied === 0) found.push('a session is lost though its buddy lives');
  return found;
}

function seen(s: LifeState, { level }: Context): string[] {
  const found: string[] = [];
  if (s.client === 3) found.push('steered anew');
  if (s.reset === 1 && s.app === 0) found.push(`accept queue reset (host ${s.host === 1 ? 'up' : 'down'})`);
  if (s.owner === 3)
    found.push(s.sApp > 0 ? 'over at the successor' : s.process === 0 ? 'over after the death' : 'over');
  if (s.owner === 1 && s.sApp === 3 && s.sNext > s.got) found.push('tail at the successor');
  if (s.owner === 1 && s.eof === 1 && s.fins > 0 && s.ended === 0)
    found.push('successor of an ended session');
  if (s.owner === 1 && s.process === 1) found.push('taken over from a living owner');
  if (s.owner === 1 && s.process === 2) found.push('taken over from a stopped owner');
  if (s.process === 0 && s.eof === 1 && s.owner === 0 && level !== 'commit')
    found.push('finished by the kernel');
  if (s.reset === 1 && s.buddyDied === 1 && s.acks > 0) found.push('owner and buddy died together');
  if (s.ended === 1 && s.eof === 0 && s.app >= 2 && s.acks === totalOf(s)) found.push('client ended first');
  if (s.ended === 0 && s.eof === 1) found.push('server ended first');
  return found;
}
