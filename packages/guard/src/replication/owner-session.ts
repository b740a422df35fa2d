/**
 * The owner's half of one session's replication: bytes and safe points in, commits out. No I/O.
 *
 * The output commit is a queue here, before the socket, and never a drop behind it: a dropped segment costs the client
 * a retransmission timeout. So the caller writes to the socket only what `sendableEnd` allows, and opens the ACK gate
 * only to `ackableEnd`.
 */
import { type PlainData } from '@restitch/wire';
import { RestitchError } from '@restitch/core';
import {
  decodePlain,
  encodePlain,
  chainOf,
  type Commit,
  commitBytes,
  maxPartBytes,
  applyPlainPatch,
  diffPlain,
  type PlainPatch,
} from '@restitch/wire/internal';
import type { ProtectionSettings } from '../levels.js';
import { ackableOffset, sendableOffset } from '../rules.js';
import { createByteLog } from './byte-log.js';

/** A safe point: the application's state after `consumed` bytes of input and `produced` bytes of output. */
interface SafePoint {
  readonly consumed: number;
  readonly state: PlainData;
}

/** What an owner session is made of. */
export interface OwnerSessionOptions {
  readonly id: string;
  readonly epoch: number;
  /** What never changes in this epoch, already encoded. */
  readonly opening: Uint8Array;
  readonly settings: Pick<ProtectionSettings, 'sessionBoundBytes' | 'logBoundBytes' | 'replay'>;
  /** Where the streams stand when this epoch begins; zeros for a new session. */
  readonly start?: {
    readonly input: number;
    readonly output: number;
    /** After a take-over: the state that came with it, and output that is promised from `output` on. */
    readonly state?: PlainData;
    readonly promised?: Uint8Array;
    /** Output at `state`, if that is not the end of what is promised: a replay makes the rest again. */
    readonly outputAt?: number;
    /** Urgent bytes up to `input`. */
    readonly skipped?: number | undefined;
  };
}

/** From where an application is run again. */
interface ReplayBase extends SafePoint {
  /** Output at `state`. */
  readonly outputAt: number;
  /** Input from `consumed` on. */
  readonly input: Buffer;
}

/** The owner's half of one session. */
export interface OwnerSession {
  readonly id: string;
  readonly epoch: number;
  /** Newest commit made, and newest the buddy has. */
  readonly n: number;
  readonly committedN: number;
  /** Bytes of input that may be acknowledged, and of output that may be written to the socket. */
  readonly ackableEnd: number;
  readonly sendableEnd: number;
  /** Input received so far. */
  readonly inputEnd: number;
  /** Urgent bytes in front of `ackableEnd`: its sequence number is so much higher. */
  readonly ackableSkipped: number;
  /** True if the client's FIN may be acknowledged too. */
  readonly isFinAckable: boolean;
  /** The client's FIN was read. */
  readonly hasFin: boolean;
  /** Room for more input or output; at 0 the application waits. */
  readonly roomBytes: number;
  readonly replicatedBytes: number;
  /** The log since the last snapshot is longer than its bound: with `replay` the application is to make the next one. */
  readonly isSnapshotDue: boolean;
  /** Commits made that the buddy has not acknowledged. */
  readonly inFlight: number;
  /** What the buddy keeps of it, once it has everything: state, input since then, output the client has not acknowledged. */
  readonly keptBytes: number;
  /** Output the client has acknowledged, as far as it was said here. */
  readonly clientAckedEnd: number;
  /** Input that is in no commit yet. */
  readonly freshInputBytes: number;
  received(bytes: Uint8Array): void;
  receivedFin(): void;
  /** So many urgent bytes were in front of the end of the input. Never less than before. */
  skippedTo(skipped: number): void;
  produced(bytes: Uint8Array): void;
  /** Output acknowledged by the client up to `offset`; both sides may forget it. */
  clientAcked(offset: number): void;
  /** A commit that covers all that was received and produced; undefined if nothing is new. */
  commit(safePoint?: SafePoint): Commit | undefined;
  /** A commit that says no more than what the client has acknowledged since the last one; undefined if that is nothing. */
  commitAcked(): Commit | undefined;
  /** The buddy has everything up to commit `n`. Ignores what it never sent. */
  committed(n: number): void;
  /** Output [from, sendableEnd) for the socket. */
  takeSendable(from: number): Buffer;
  /** Where an application with `replay` begins again: its last safe point, and the input since then. */
  replayBase(): ReplayBase;
  /** All output from `from` on, committed or not. */
  outputFrom(from: number): Buffer;
  /** After a reconnect or with a new buddy: what it must get, given the newest commit it has (0: none). */
  resume(buddyHas: number): Commit[];
}

interface Mark {
  readonly inputEnd: number;
  readonly outputEnd: number;
  readonly fin: boolean;
  readonly skipped: number;
}

interface Pending extends Mark {
  readonly commit: Commit;
}

/** A snapshot is due once the deltas after the last one are this many times its size: they then cost more to keep. */
const deltasPerSnapshot = 4;

/** The patch of a state that has not changed. */
const nullPatch = encodePlain(null);

/** A new owner session; its first commit is a snapshot. */
export function createOwnerSession(options: OwnerSessionOptions): OwnerSession {
  const { id, epoch, settings } = options;
  const start = { input: options.start?.input ?? 0, output: options.start?.output ?? 0 };
  /** Input from the last safe point on; output from the client's last acknowledgement on. */
  const input = createByteLog(start.input);
  const output = createByteLog(start.output);
  // The first commit may come before the first safe point: until then what was taken over is the safe point.
  output.append(options.start?.promised ?? new Uint8Array());
  let skipped = options.start?.skipped ?? 0;
  const none: Mark = { inputEnd: start.input, outputEnd: start.output, fin: false, skipped };
  let fin = false;
  let n = 0;
  let chain = 0;
  let last = none;
  let committedN = 0;
  let committedMark = none;
  let acked = start.output;
  let pending: Pending[] = [];
  const encodedStart = encodePlain(options.start?.state ?? null);
  let safe: SafePoint & { outputAt: number; encoded: Buffer } = {
    consumed: start.input,
    // A copy of its own: the application has the other one, and changes it in place.
    state: decodePlain(encodedStart) as PlainData,
    outputAt: options.start?.outputAt ?? output.end,
    encoded: encodedStart,
  };
  /** The state the buddy will have once all pending commits have arrived. */
  let known: PlainData | undefined;
  let deltaBytes = 0;
  let replicatedBytes = 0;
  let inFlightBytes = 0;
  let ackedTold = acked;

  /** Output an application that is not deterministic made after its last safe point is not yet anyone's word. */
  const outputLimit = (): number => (settings.replay ? output.end : safe.outputAt);

  const isSnapshotDue = (): boolean =>
    n === 0 || deltaBytes > Math.max(settings.logBoundBytes, deltasPerSnapshot * safe.encoded.length);

  const push = (body: Omit<Commit, 't' | 'id' | 'epoch' | 'n' | 'chain' | 'acked' | 'fin'>): Commit => {
    n++;
    const bare = {
      t: 'commit' as const,
      id,
      epoch,
      n,
      ...body,
      fin,
      acked,
      ...(skipped > 0 ? { skipped } : {}),
    };
    chain = chainOf(bare, body.state?.as === 'snapshot' ? 0 : chain);
    const commit: Commit = { ...bare, chain };
    last = { inputEnd: input.end, outputEnd: outputLimit(), fin, skipped };
    ackedTold = acked;
    pending.push({ commit, ...last });
    replicatedBytes += commitBytes(commit);
    inFlightBytes += commitBytes(commit);
    return commit;
  };

  const snapshot = (): Commit => {
    known = safe.state;
    deltaBytes = 0;
    return push({
      opening: options.opening,
      state: { as: 'snapshot', bytes: safe.encoded, consumed: safe.consumed, outputAt: safe.outputAt },
      inputStart: safe.consumed,
      input: input.slice(safe.consumed, input.end),
      outputStart: acked,
      output: output.slice(acked, outputLimit()),
    });
  };

  /** Input bytes or the state after them, whichever is smaller. */
  const delta = (hasNewState: boolean): Commit => {
    const outputStart = last.outputEnd;
    const common = { outputStart, output: output.slice(outputStart, outputLimit()) };
    const inputStart = last.inputEnd;
    const inputBytes = input.end - inputStart;
    // A copy of the input is made only if it is sent: at a safe point it usually is not.
    const log = (): Commit => push({ ...common, inputStart, input: input.slice(inputStart, input.end) });
    if (!hasNewState) {
      if (settings.replay) deltaBytes += inputBytes;
      return log();
    }
    const patch = known === safe.state ? nullPatch : encodePlain(diffPlain(known ?? null, safe.state));
    const rest = Math.max(last.inputEnd, safe.consumed);
    const patchBytes = patch.length + input.end - rest;
    deltaBytes += Math.min(patchBytes, inputBytes);
    if (settings.replay && inputBytes < patchBytes) return log();
    known = safe.state;
    return push({
      ...common,
      state: { as: 'patch', bytes: patch, consumed: safe.consumed, outputAt: safe.outputAt },
      inputStart: rest,
      input: input.slice(rest, input.end),
    });
  };

  return {
    id,
    epoch,
    get n() {
      return n;
    },
    get committedN() {
      return committedN;
    },
    get ackableEnd() {
      return ackableOffset(input.end, committedMark.inputEnd);
    },
    get sendableEnd() {
      return sendableOffset(output.end, committedMark.outputEnd);
    },
    get inputEnd() {
      return input.end;
    },
    get ackableSkipped() {
      return committedMark.skipped;
    },
    get isFinAckable() {
      return committedMark.fin;
    },
    get hasFin() {
      return fin;
    },
    get roomBytes() {
      const kept = output.end - acked + (input.end - safe.consumed);
      return Math.max(0, settings.sessionBoundBytes - Math.max(kept, inFlightBytes));
    },
    get isSnapshotDue() {
      return isSnapshotDue();
    },
    get replicatedBytes() {
      return replicatedBytes;
    },
    get inFlight() {
      return pending.length;
    },
    get keptBytes() {
      const kept = input.end - safe.consumed + (output.end - acked);
      return options.opening.length + safe.encoded.length + kept;
    },
    get clientAckedEnd() {
      return acked;
    },
    get freshInputBytes() {
      return input.end - last.inputEnd;
    },
    received: (bytes) => {
      if (fin) throw new RestitchError('internal', `session ${id}: bytes after the client's FIN`);
      input.append(bytes);
    },
    receivedFin: () => {
      fin = true;
    },
    skippedTo: (total) => {
      skipped = Math.max(skipped, total);
    },
    produced: (bytes) => output.append(bytes),
    clientAcked: (offset) => {
      acked = Math.min(Math.max(acked, offset), committedMark.outputEnd);
      output.trimTo(acked);
    },
    commit(safePoint) {
      const hasNewState = safePoint !== undefined;
      if (safePoint !== undefined) {
        if (safePoint.consumed < safe.consumed || safePoint.consumed > input.end) {
          throw new RestitchError(
            'usage',
            `session ${id}: safe point at ${safePoint.consumed}, known are ${safe.consumed}..${input.end}`,
          );
        }
        const encoded = encodePlain(safePoint.state);
        if (encoded.length > maxPartBytes) {
          throw new RestitchError(
            'usage',
            `session ${id}: state has ${encoded.length} bytes, the bound is ${maxPartBytes}`,
          );
        }
        // The application goes on changing its own object; what was committed must stay as it was.
        const isSame = encoded.equals(safe.encoded);
        safe = {
          consumed: safePoint.consumed,
          state: isSame ? safe.state : (decodePlain(encoded) as PlainData),
          outputAt: output.end,
          encoded,
        };
      }
      const isMore =
        input.end > last.inputEnd ||
        outputLimit() > last.outputEnd ||
        fin !== last.fin ||
        skipped !== last.skipped;
      const isFurther = hasNewState && diffPlain(known ?? null, safe.state) !== null;
      if (n > 0 && !isMore && !isFurther) return undefined;
      const commit = hasNewState && isSnapshotDue() ? snapshot() : n === 0 ? snapshot() : delta(hasNewState);
      trimInput();
      return commit;
    },
    commitAcked() {
      return n === 0 || acked === ackedTold ? undefined : delta(false);
    },
    committed(upTo) {
      if (upTo <= committedN || upTo > n) return;
      const known = pending.findLast((p) => p.commit.n <= upTo);
      if (known !== undefined) committedMark = known;
      committedN = upTo;
      drop((p) => p.commit.n <= upTo);
    },
    takeSendable(from) {
      const end = sendableOffset(output.end, committedMark.outputEnd);
      return output.slice(from, Math.max(from, end));
    },
    outputFrom: (from) => output.slice(from, output.end),
    replayBase() {
      const { consumed, state, outputAt } = safe;
      return { consumed, state, outputAt, input: input.slice(consumed, input.end) };
    },
    resume(buddyHas) {
      if (n === 0) return [];
      const isReachable = buddyHas >= committedN && buddyHas <= n && buddyHas > 0;
      if (isReachable) return pending.filter((p) => p.commit.n > buddyHas).map((p) => p.commit);
      const fresh = snapshot();
      drop((p) => p.commit !== fresh);
      return [fresh];
    },
  };

  function drop(isGone: (p: Pending) => boolean): void {
    for (const p of pending) if (isGone(p)) inFlightBytes -= commitBytes(p.commit);
    pending = pending.filter((p) => !isGone(p));
  }

  /** In replay mode the log must reach back to the state the buddy has, which the owner keeps in `safe`. */
  function trimInput(): void {
    input.trimTo(safe.consumed);
  }
}

/** A state after a list of patches, all encoded. Throws `message_invalid`. */
export function foldState(snapshot: Uint8Array, patches: readonly Uint8Array[]): PlainData {
  try {
    let state = decodePlain(snapshot) as PlainData;
    for (const patch of patches) state = applyPlainPatch(state, decodePlain(patch) as PlainPatch);
    return state;
  } catch (cause) {
    if (cause instanceof RestitchError) throw cause;
    throw new RestitchError('message_invalid', 'replicated state is not msgpack', { cause });
  }
}
