/**
 * The buddy's half: what other endpoints' sessions need to go on here. Commits in, acknowledgements out. No I/O.
 *
 * Replicas are kept by (owner, session): what an endpoint sends can only ever touch what that same endpoint sent before,
 * so a forged message harms nobody else's session. State patches are folded only at take-over; a snapshot bounds them.
 */
import { type Counters, createCounters, RestitchError } from '@restitch/core';
import { type PlainData } from '@restitch/wire';
import { judgeCommit } from '../rules.js';
import { type ByteLog, createByteLog } from './byte-log.js';
import { chainOf, type Commit, commitBytes, type ToBuddy, type ToOwner } from '@restitch/wire/internal';
import { foldState } from './owner-session.js';

/** Memory for other endpoints' sessions by default: a hundred at their bound of 4 MiB, or a million idle ones. */
const defaultStoreBoundBytes = 400 * 1024 * 1024;

/**
 * Replicas given away that go on refusing: the sessions of five endpoints at 20,000 each would have to die before the
 * first is forgotten. It is the second line of defence; the first is the lease, which ended before anything was given
 * away, so an owner that wakes up after that many deaths has its commits kept and still sends nothing.
 */
const defaultMaxTombstones = 100_000;

/** One session as the buddy would go on with it. */
export interface Replica {
  readonly id: string;
  readonly owner: string;
  readonly epoch: number;
  readonly n: number;
  readonly opening: Uint8Array;
  readonly state: PlainData;
  /** Input [consumed, inputEnd): the application reads it again after `state`. */
  readonly consumed: number;
  readonly input: Buffer;
  readonly inputEnd: number;
  readonly fin: boolean;
  /** Urgent bytes up to `inputEnd`. */
  readonly skipped: number;
  /** Output [acked, outputEnd): promised, kept until the client has acknowledged it. */
  readonly acked: number;
  readonly output: Buffer;
  readonly outputEnd: number;
  /** Output at `state`: a replay produces from here on, and its first outputEnd − outputAt bytes must equal the kept ones. */
  readonly outputAt: number;
}

/** Where one replica stands, for the coordinator. */
interface ReplicaStatus {
  readonly id: string;
  readonly owner: string;
  readonly epoch: number;
  readonly n: number;
  readonly keptBytes: number;
  /** What the owner said of it first, encoded. */
  readonly opening: Uint8Array;
}

/** All replicas one endpoint keeps for others. */
export interface BuddyStore {
  readonly keptBytes: number;
  /** Replicas that can be taken over. */
  readonly sessions: number;
  /** Replicas that were given away and go on refusing their old owner. */
  readonly tombstones: number;
  readonly counters: Counters;
  /** Takes one message from the endpoint named in the peer's certificate; answers for the same connection. */
  receive(owner: string, message: ToBuddy): ToOwner[];
  /** Fences `epoch` and everything older of that session and hands the replica out. Throws `unknown_session`, `stale_epoch`. */
  takeOver(owner: string, id: string, epoch: number): Replica;
  /** The replica as it stands, which goes on; undefined if there is none of that epoch. */
  peek(owner: string, id: string, epoch: number): Replica | undefined;
  /** Number of the newest commit kept of that epoch; 0 if there is none. */
  newestOf(owner: string, id: string, epoch: number): number;
  /** A planned move has ended all epochs up to that one: refuses them from now on, until their owner forgets, too. */
  endEpoch(owner: string, id: string, epoch: number): void;
  list(owner?: string): ReplicaStatus[];
  /** Ends everything: this process was declared dead, and what it keeps may be old. */
  clear(): void;
}

interface Entry {
  readonly id: string;
  readonly owner: string;
  epoch: number;
  n: number;
  chain: number;
  isFenced: boolean;
  /** Fenced by a planned move: its owner lives, and its last word ends the entry. */
  isHandedOver: boolean;
  opening: Uint8Array;
  snapshot: Uint8Array;
  patches: Uint8Array[];
  patchBytes: number;
  consumed: number;
  outputAt: number;
  input: ByteLog;
  output: ByteLog;
  fin: boolean;
  skipped: number;
}

/** An empty store. */
export function createBuddyStore(
  options: {
    readonly boundBytes?: number;
    readonly maxTombstones?: number;
    readonly counters?: Counters;
  } = {},
): BuddyStore {
  const boundBytes = options.boundBytes ?? defaultStoreBoundBytes;
  const counters = options.counters ?? createCounters();
  const maxTombstones = options.maxTombstones ?? defaultMaxTombstones;
  const entries = new Map<string, Entry>();
  /** Keys of fenced entries, oldest first. */
  const tombstones = new Set<string>();
  let keptBytes = 0;
  const keyOf = (owner: string, id: string): string => `${owner}/${id}`;

  const refuse = (commit: Commit, code: Extract<ToOwner, { t: 'commit-refused' }>['code']): ToOwner[] => {
    counters.add(`replication_refused_${code}_total`);
    return [{ t: 'commit-refused', id: commit.id, epoch: commit.epoch, n: commit.n, code }];
  };

  const receiveCommit = (owner: string, commit: Commit): ToOwner[] => {
    const key = keyOf(owner, commit.id);
    const entry = entries.get(key);
    const isSnapshot = commit.state?.as === 'snapshot';
    const verdict = judgeCommit(entry, { epoch: commit.epoch, n: commit.n, isSnapshot });
    if (verdict === 'stale') return refuse(commit, 'stale_epoch');
    if (verdict === 'gap') {
      counters.add('replication_gaps_total');
      const n = entry?.epoch === commit.epoch ? entry.n : 0;
      return [{ t: 'resume-from', sessions: [{ id: commit.id, epoch: commit.epoch, n }] }];
    }
    if (verdict === 'repeat') {
      counters.add('replication_repeats_total');
    } else {
      if (entry === undefined && keptBytes + commitBytes(commit) > boundBytes)
        return refuse(commit, 'no_capacity');
      if (!isConsistent(entry, commit)) return refuse(commit, 'message_invalid');
      const before = entry === undefined ? 0 : sizeOf(entry);
      const next = isSnapshot ? fromSnapshot(owner, commit) : extended(entry as Entry, commit);
      entries.set(key, next);
      tombstones.delete(key);
      keptBytes += sizeOf(next) - before;
      counters.add('replication_commits_total');
      counters.add('replication_bytes_total', commitBytes(commit));
    }
    const { epoch, n } = entries.get(key) as Entry;
    return [{ t: 'committed', sessions: [{ id: commit.id, epoch, n }] }];
  };

  const remove = (key: string, entry: Entry): void => {
    keptBytes -= sizeOf(entry);
    entries.delete(key);
    tombstones.delete(key);
  };

  const bury = (key: string): void => {
    tombstones.add(key);
    for (const oldest of tombstones) {
      if (tombstones.size <= maxTombstones) return;
      const entry = entries.get(oldest);
      if (entry !== undefined) remove(oldest, entry);
      counters.add('replication_tombstones_dropped_total');
    }
  };

  /** What is kept goes, the refusal stays. */
  const fence = (entry: Entry): void => {
    keptBytes -= sizeOf(entry);
    const nothing = { snapshot: new Uint8Array(), patches: [], patchBytes: 0, opening: new Uint8Array() };
    Object.assign(entry, { isFenced: true, ...nothing });
    entry.input = createByteLog(entry.input.end);
    entry.output = createByteLog(entry.output.end);
    keptBytes += sizeOf(entry);
    bury(keyOf(entry.owner, entry.id));
  };

  const current = (owner: string, id: string, epoch: number): Entry | undefined => {
    const entry = entries.get(keyOf(owner, id));
    return entry?.epoch === epoch && !entry.isFenced ? entry : undefined;
  };

  return {
    get keptBytes() {
      return keptBytes;
    },
    get sessions() {
      return entries.size - tombstones.size;
    },
    get tombstones() {
      return tombstones.size;
    },
    counters,
    receive(owner, message) {
      if (message.t === 'commit') return receiveCommit(owner, message);
      if (message.t === 'resume') {
        const sessions = message.sessions.map(({ id, epoch }) => {
          const entry = entries.get(keyOf(owner, id));
          return { id, epoch, n: entry?.epoch === epoch && !entry.isFenced ? entry.n : 0 };
        });
        return [{ t: 'resume-from', sessions }];
      }
      const key = keyOf(owner, message.id);
      const entry = entries.get(key);
      // A fenced entry is a tombstone that goes on refusing; an older epoch has nothing to say about a newer one.
      const isOver = entry !== undefined && (!entry.isFenced || entry.isHandedOver);
      if (isOver && message.epoch >= entry.epoch) remove(key, entry);
      return [{ t: 'forgotten', id: message.id, epoch: message.epoch }];
    },
    takeOver(owner, id, epoch) {
      const entry = entries.get(keyOf(owner, id));
      if (entry === undefined) {
        throw new RestitchError('unknown_session', `take over ${id} of ${owner}: no replica here`);
      }
      if (entry.isFenced || entry.epoch > epoch) {
        throw new RestitchError(
          'stale_epoch',
          `take over ${id} of ${owner} at epoch ${epoch}: replica is of epoch ${entry.epoch}${entry.isFenced ? ', already taken' : ''}`,
        );
      }
      const replica = toReplica(entry);
      fence(entry);
      return replica;
    },
    peek(owner, id, epoch) {
      const entry = current(owner, id, epoch);
      return entry === undefined ? undefined : toReplica(entry);
    },
    newestOf: (owner, id, epoch) => current(owner, id, epoch)?.n ?? 0,
    endEpoch(owner, id, epoch) {
      const entry = entries.get(keyOf(owner, id));
      if (entry === undefined || entry.isFenced || entry.epoch > epoch) return;
      fence(entry);
      entry.isHandedOver = true;
    },
    list: (owner) =>
      [...entries.values()]
        .filter((e) => !e.isFenced && (owner === undefined || e.owner === owner))
        .map((e) => ({
          id: e.id,
          owner: e.owner,
          epoch: e.epoch,
          n: e.n,
          keptBytes: sizeOf(e),
          opening: e.opening,
        })),
    clear() {
      entries.clear();
      tombstones.clear();
      keptBytes = 0;
    },
  };
}

/** What a replica costs beyond its bytes: the entry, its two logs, the map slot (measured, rounded up). */
const entryOverheadBytes = 1024;
/** Of one that only refuses. */
const tombstoneBytes = 256;

function sizeOf(e: Entry): number {
  if (e.isFenced) return tombstoneBytes;
  const logs = e.input.end - e.input.start + (e.output.end - e.output.start);
  return entryOverheadBytes + e.opening.length + e.snapshot.length + e.patchBytes + logs;
}

/** Offsets meet exactly and the checksum chain holds; anything else is damage, whoever did it. */
function isConsistent(entry: Entry | undefined, commit: Commit): boolean {
  const { state } = commit;
  if (state?.as === 'snapshot') {
    const isWhole = commit.inputStart === state.consumed && commit.outputStart === commit.acked;
    const isOrdered = state.outputAt <= commit.outputStart + commit.output.length;
    return isWhole && isOrdered && commit.opening !== undefined && chainOf(commit, 0) === commit.chain;
  }
  if (entry === undefined) return false;
  const inputFrom = state === undefined ? entry.input.end : Math.max(entry.input.end, state.consumed);
  if (commit.inputStart !== inputFrom || commit.outputStart !== entry.output.end) return false;
  const outputEnd = commit.outputStart + commit.output.length;
  if (commit.acked > outputEnd || (entry.fin && (commit.input.length > 0 || !commit.fin))) return false;
  if (state !== undefined && (state.consumed < entry.consumed || state.outputAt > outputEnd)) return false;
  return chainOf(commit, entry.chain) === commit.chain;
}

function fromSnapshot(owner: string, commit: Commit): Entry {
  const state = commit.state as NonNullable<Commit['state']>;
  const input = createByteLog(commit.inputStart);
  input.append(commit.input);
  const output = createByteLog(commit.outputStart);
  output.append(commit.output);
  return {
    id: commit.id,
    owner,
    epoch: commit.epoch,
    n: commit.n,
    chain: commit.chain,
    isFenced: false,
    isHandedOver: false,
    opening: commit.opening ?? new Uint8Array(),
    snapshot: state.bytes,
    patches: [],
    patchBytes: 0,
    consumed: state.consumed,
    outputAt: state.outputAt,
    input,
    output,
    fin: commit.fin,
    skipped: commit.skipped ?? 0,
  };
}

/** msgpack's nil: the state is as it was. Kept all the same, a long upload would leave a list of nothings. */
function isNullPatch(bytes: Uint8Array): boolean {
  return bytes.length === 1 && bytes[0] === 0xc0;
}

function extended(entry: Entry, commit: Commit): Entry {
  const { state } = commit;
  entry.n = commit.n;
  entry.chain = commit.chain;
  entry.fin = commit.fin;
  entry.skipped = commit.skipped ?? 0;
  if (state !== undefined) {
    if (!isNullPatch(state.bytes)) {
      entry.patches.push(state.bytes);
      entry.patchBytes += state.bytes.length;
    }
    entry.consumed = state.consumed;
    entry.outputAt = state.outputAt;
    entry.input.trimTo(state.consumed);
  }
  entry.input.append(commit.input);
  entry.output.append(commit.output);
  entry.output.trimTo(commit.acked);
  return entry;
}

function toReplica(e: Entry): Replica {
  return {
    id: e.id,
    owner: e.owner,
    epoch: e.epoch,
    n: e.n,
    opening: e.opening,
    state: foldState(e.snapshot, e.patches),
    consumed: e.consumed,
    input: e.input.slice(e.consumed, e.input.end),
    inputEnd: e.input.end,
    fin: e.fin,
    skipped: e.skipped,
    acked: e.output.start,
    output: e.output.slice(e.output.start, e.output.end),
    outputEnd: e.output.end,
    outputAt: e.outputAt,
  };
}
