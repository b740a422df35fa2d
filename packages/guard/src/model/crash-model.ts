/**
 * Commit, gate, lease and take-over as a model: owner A, buddy B, a client and an access point, every interleaving.
 *
 * The network is a set that only grows: a message once sent may arrive at any later time, any number of times, or
 * never. That is loss, delay, doubling and reordering at once. The application answers each byte with 0 or 1 as it
 * likes, so a server that forgets what it said can say something else. All decisions are those of rules.ts; `bugs`
 * replaces one of them by a plausible mistake, to show that the exploration would find it. Ends of the stream, the accept
 * queue and what comes after the application are in life-model.ts.
 */
import {
  ackableOffset,
  judgeCommit,
  leaseEnd,
  mayEmit,
  mayGrant,
  mayTakeOver,
  sendableOffset,
} from '../rules.js';
import type { Model } from './explore.js';

/** Mistakes the exploration must find. */
export type PlantedBug =
  | 'ack-before-commit'
  | 'output-before-commit'
  | 'lease-ignored-at-take-over'
  | 'lease-counted-from-receipt'
  | 'grant-not-remembered'
  | 'retransmission-outside-the-lease'
  | 'buddy-accepts-old-epoch'
  | 'buddy-accepts-gap'
  | 'no-guard';

/** Size of the configuration. */
export interface CrashModelOptions {
  readonly bugs?: readonly PlantedBug[];
  /** Bytes the client sends. */
  readonly bytes?: number;
  /** Length of a lease in ticks. */
  readonly leaseTicks?: number;
  /** The owner's machine may be paused with its clock (a virtual machine); then its lease does not run. */
  readonly canPause?: boolean;
}

/** Numbers and short strings only, so that a state's key is its values. */
export interface CrashState {
  /** Client: bytes sent, bytes acknowledged. */
  readonly sent: number;
  readonly una: number;
  /** Network: acknowledgements ever emitted (bit per offset), output ever emitted (2 bits a position), a FIN by death. */
  readonly acks: number;
  readonly values: number;
  readonly fin: number;
  /** A: process 1 runs, 2 stopped, 0 dead; its host; its clock stopped; received, answered, committed as it knows. */
  readonly process: number;
  readonly host: number;
  readonly paused: number;
  readonly received: number;
  readonly output: string;
  readonly committed: number;
  /** Lease ticks left at A's kernel; its agent has fenced it; age of the request under way (−1 none); 1 granted. */
  readonly lease: number;
  readonly fenced: number;
  readonly requestAge: number;
  readonly granted: number;
  /** B: newest commit, bytes it has (bit each), its output, newest commit acknowledged, fenced A's epoch and serves, received. */
  readonly stored: number;
  readonly has: number;
  readonly kept: string;
  readonly told: number;
  readonly serves: number;
  readonly taken: number;
  /** Access point: 0 healthy, 1 suspect, 2 dead; lease ticks by its own reckoning; owner 0 A, 1 B; death told by the agent. */
  readonly verdict: number;
  readonly reckoned: number;
  readonly owner: number;
  readonly deathTold: number;
  /** 1 once A emitted anything while B served. */
  readonly crossed: number;
}

const initial: CrashState = {
  sent: 0,
  una: 0,
  acks: 0,
  values: 0,
  fin: 0,
  process: 1,
  host: 1,
  paused: 0,
  received: 0,
  output: '',
  committed: 0,
  lease: 0,
  fenced: 0,
  requestAge: -1,
  granted: 0,
  stored: 0,
  has: 0,
  kept: '',
  told: 0,
  serves: 0,
  taken: 0,
  verdict: 0,
  reckoned: 0,
  owner: 0,
  deathTold: 0,
  crossed: 0,
};

const verdicts = ['healthy', 'suspect', 'dead'] as const;
type Emit = (what: string, state: CrashState) => void;
type Context = Required<Omit<CrashModelOptions, 'bugs'>> & { readonly has: (bug: PlantedBug) => boolean };

/** The model for an exploration. */
export function createCrashModel(options: CrashModelOptions = {}): Model<CrashState> {
  const bugs = new Set(options.bugs ?? []);
  const context: Context = {
    bytes: options.bytes ?? 2,
    leaseTicks: options.leaseTicks ?? 2,
    canPause: options.canPause ?? false,
    has: (bug) => bugs.has(bug),
  };
  return {
    initial,
    keyOf: (s) => Object.values(s).join(),
    next(s, emit) {
      nextOfClient(s, emit, context);
      nextOfOwner(s, emit, context);
      nextOfFaults(s, emit, context);
      nextOfBuddy(s, emit, context);
      nextOfLease(s, emit, context);
      nextOfAccessPoint(s, emit);
    },
    violations,
    seen,
  };
}

function nextOfClient(s: CrashState, emit: Emit, context: Context): void {
  if (s.sent < context.bytes) emit('client sends', { ...s, sent: s.sent + 1 });
  for (let ack = s.una + 1; ack <= context.bytes; ack++) {
    if (s.acks & (1 << ack)) emit(`client gets ack ${ack}`, { ...s, una: ack });
  }
}

const isUp = (s: CrashState): boolean => s.host === 1 && s.paused === 0;
const runs = (s: CrashState): boolean => isUp(s) && s.process === 1;
const canEmit = (s: CrashState): boolean => isUp(s) && mayEmit(0, s.lease);

function nextOfOwner(s: CrashState, emit: Emit, context: Context): void {
  // A kernel goes on receiving for a stopped or dead process, and packets sent before the switch may still arrive.
  if (isUp(s) && s.received < s.sent) emit('A receives', { ...s, received: s.received + 1 });
  if (runs(s) && s.output.length < s.received) {
    for (const value of ['0', '1']) emit(`A answers ${value}`, { ...s, output: s.output + value });
  }
  for (let n = s.committed + 1; runs(s) && n <= s.told; n++)
    emit(`A learns commit ${n}`, { ...s, committed: n });
  const isOldData = context.has('retransmission-outside-the-lease') && s.values !== 0 && isUp(s);
  if (canEmit(s) || isOldData) {
    const ack = context.has('ack-before-commit') ? s.received : ackableOffset(s.received, s.committed);
    const made = s.output.length;
    const end = context.has('output-before-commit') ? made : sendableOffset(made, s.committed);
    const values = s.values | bitsOf(s.output.slice(0, end));
    emit('A emits', { ...s, acks: s.acks | (1 << ack), values, crossed: s.crossed | s.serves });
  }
}

function nextOfFaults(s: CrashState, emit: Emit, context: Context): void {
  if (s.host === 1) emit('host of A dies', { ...s, host: 0, process: 0 });
  if (isUp(s) && s.process !== 0) {
    const leaks = context.has('no-guard') && canEmit(s);
    emit('process of A dies', { ...s, process: 0, fin: leaks ? 1 : s.fin });
    emit('process of A stops or goes on', { ...s, process: s.process === 1 ? 2 : 1 });
  }
  if (s.process === 0 && isUp(s) && s.fenced === 0)
    emit('agent fences', { ...s, fenced: 1, lease: 0, deathTold: 1 });
  if (context.canPause && s.host === 1)
    emit('machine of A pauses or goes on', { ...s, paused: 1 - s.paused });
}

function nextOfBuddy(s: CrashState, emit: Emit, context: Context): void {
  for (let n = 1; n <= s.output.length; n++) {
    const known = { epoch: 1, n: s.stored, isFenced: s.serves === 1 };
    let verdict = judgeCommit(known, { epoch: 1, n, isSnapshot: false });
    if (verdict === 'stale' && context.has('buddy-accepts-old-epoch')) {
      emit(`B acknowledges commit ${n} of the old epoch`, { ...s, told: Math.max(s.told, n) });
    }
    if (verdict === 'gap' && context.has('buddy-accepts-gap')) verdict = 'apply';
    if (verdict === 'apply') {
      const has = s.has | (1 << n);
      emit(`B stores commit ${n}`, { ...s, stored: n, has, kept: s.output.slice(0, n), told: n });
    }
  }
  if (s.owner === 1 && s.serves === 0) emit('B takes over', { ...s, serves: 1, taken: s.stored });
  if (s.serves === 0) return;
  if (s.taken < s.sent) emit('B receives', { ...s, taken: s.taken + 1, has: s.has | (1 << (s.taken + 1)) });
  if (s.kept.length < s.taken) {
    for (const value of ['0', '1']) emit(`B answers ${value}`, { ...s, kept: s.kept + value });
  }
  emit('B emits', { ...s, acks: s.acks | (1 << s.taken), values: s.values | bitsOf(s.kept) });
}

function nextOfLease(s: CrashState, emit: Emit, context: Context): void {
  const { leaseTicks } = context;
  if (isUp(s) && s.fenced === 0 && s.requestAge < 0) emit('agent asks', { ...s, requestAge: 0, granted: 0 });
  if (s.requestAge >= 0) {
    emit('request or grant is lost', { ...s, requestAge: -1, granted: 0 });
    if (s.granted === 0 && mayGrant(verdicts[s.verdict] ?? 'dead')) {
      const reckoned = context.has('grant-not-remembered') ? s.reckoned : leaseTicks;
      emit('access point grants', { ...s, granted: 1, reckoned });
    }
    if (s.granted === 1 && isUp(s) && s.fenced === 0) {
      const from = context.has('lease-counted-from-receipt') ? 0 : -s.requestAge;
      const lease = Math.max(s.lease, leaseEnd(from, leaseTicks));
      emit('agent renews', { ...s, lease, requestAge: -1, granted: 0 });
    }
  }
  const runsClock = s.paused === 0;
  const requestAge = s.requestAge >= 0 && runsClock ? s.requestAge + 1 : s.requestAge;
  const isTooOld = requestAge >= leaseTicks + (context.has('lease-counted-from-receipt') ? 2 : 0);
  emit('time', {
    ...s,
    lease: runsClock ? Math.max(0, s.lease - 1) : s.lease,
    reckoned: Math.max(0, s.reckoned - 1),
    requestAge: isTooOld ? -1 : requestAge,
    granted: isTooOld ? 0 : s.granted,
  });
  if (context.has('lease-ignored-at-take-over') && s.verdict === 2 && s.owner === 0) {
    emit('access point switches to B', { ...s, owner: 1 });
  }
}

function nextOfAccessPoint(s: CrashState, emit: Emit): void {
  // A heartbeat may be missed for any reason, so a living owner may be suspected and declared dead.
  if (s.verdict === 0) emit('access point suspects', { ...s, verdict: 1 });
  if (s.verdict === 1 && runs(s)) emit('false alarm', { ...s, verdict: 0 });
  if (s.verdict === 1) emit('access point declares dead', { ...s, verdict: 2 });
  if (s.deathTold === 1)
    emit('access point hears of the death', { ...s, deathTold: 2, verdict: 2, reckoned: 0 });
  if (s.owner === 0 && mayTakeOver(verdicts[s.verdict] ?? 'dead', 0, s.reckoned)) {
    emit('access point switches to B', { ...s, owner: 1 });
  }
}

/** The three sentences of the assignment, and the guard's. */
function violations(s: CrashState): string[] {
  const found: string[] = [];
  for (let byte = 1; s.acks >> byte > 0; byte++) {
    if (!(s.has & (1 << byte))) found.push('an acknowledged byte is nowhere');
  }
  for (let bits = s.values; bits > 0; bits >>= 2)
    if ((bits & 3) === 3) found.push('an emitted byte is contradicted');
  if (s.crossed === 1 || (s.serves === 1 && canEmit(s))) found.push('two may emit');
  if (s.owner === 1 && s.serves === 1 && isEmittedBeyond(s))
    found.push('an emitted byte is unknown to the new owner');
  if (s.fin === 1) found.push('the client sees the death');
  return found;
}

function isEmittedBeyond(s: CrashState): boolean {
  return s.values >> (2 * s.kept.length) > 0;
}

function seen(s: CrashState): string[] {
  const found: string[] = [];
  if (s.una > 0 && s.serves === 1 && s.process === 0) found.push('taken over after an acknowledgement');
  if (s.serves === 1 && s.process === 1 && isUp(s)) found.push('taken over from a living owner');
  if (s.serves === 1 && s.process === 2) found.push('taken over from a stopped owner');
  if (s.serves === 1 && s.una > s.stored) found.push('served on by the buddy');
  if (s.serves === 1 && s.output.length > s.stored) found.push('uncommitted work given up');
  if (s.serves === 1 && s.kept.length > 0 && s.output.length > 0 && s.kept[s.stored] !== s.output[s.stored]) {
    found.push('answered otherwise after a crash');
  }
  return found;
}

/** Output as two bits a position: said 0, said 1. */
export function bitsOf(output: string): number {
  return [...output].reduce((bits, value, i) => bits | ((value === '1' ? 2 : 1) << (2 * i)), 0);
}
