/**
 * The owner's half of a session at level periodic: now and then a whole snapshot, between two of them nothing.
 *
 * The buddy takes it like any other commit. It is no delta of bytes, because a bulk stream between two checkpoints would
 * then be replicated after all, and none of it could be used: only a client that has nothing newer is resumed.
 */
import { type PlainData } from '@restitch/wire';
import { RestitchError } from '@restitch/core';
import { encodePlain, chainOf, type Commit, commitBytes, maxPartBytes } from '@restitch/wire/internal';
import { createByteLog } from './byte-log.js';

/** What a checkpoint says. */
interface CheckpointPoint {
  /** Input consumed by the application, and what it has been given and not consumed. */
  readonly consumed: number;
  readonly unread: Uint8Array;
  readonly fin: boolean;
  readonly state: PlainData;
  /** Urgent bytes in front of the reader. */
  readonly skipped?: number;
}

/** Checkpoints of one session. */
export interface Checkpointer {
  /** Newest checkpoint made. */
  readonly n: number;
  /** Output from the client's last acknowledgement on. */
  readonly keptBytes: number;
  readonly producedEnd: number;
  readonly replicatedBytes: number;
  produced(bytes: Uint8Array): void;
  /** The client has acknowledged output up to `offset`. */
  clientAcked(offset: number): void;
  /** A checkpoint, or undefined if it would be the last one again. Throws `usage` for a state that is too large. */
  checkpoint(point: CheckpointPoint): Commit | undefined;
  /** What a buddy must get that has `buddyHas` as the newest (0: none). */
  resume(buddyHas: number): Commit[];
}

/** A new one; its first checkpoint has number 1. */
export function createCheckpointer(options: {
  readonly id: string;
  readonly epoch: number;
  readonly opening: Uint8Array;
  readonly outputStart?: number;
}): Checkpointer {
  const { id, epoch, opening } = options;
  const output = createByteLog(options.outputStart ?? 0);
  let n = 0;
  let last: Commit | undefined;
  let replicatedBytes = 0;

  return {
    get n() {
      return n;
    },
    get keptBytes() {
      return output.end - output.start;
    },
    get producedEnd() {
      return output.end;
    },
    get replicatedBytes() {
      return replicatedBytes;
    },
    produced: (bytes) => output.append(bytes),
    clientAcked: (offset) => output.trimTo(Math.min(offset, output.end)),
    checkpoint({ consumed, unread, fin, state, skipped = 0 }) {
      const bytes = encodePlain(state);
      const kept = output.end - output.start;
      if (Math.max(bytes.length, unread.length, kept) > maxPartBytes) {
        const parts = `state ${bytes.length}, unread ${unread.length}, unacknowledged ${kept}`;
        throw new RestitchError('usage', `session ${id}: ${parts} bytes, the bound is ${maxPartBytes} each`);
      }
      const isKnown =
        last?.state !== undefined &&
        last.state.consumed === consumed &&
        last.state.outputAt === output.end &&
        last.input.length === unread.length &&
        last.fin === fin &&
        (last.skipped ?? 0) === skipped &&
        Buffer.compare(last.state.bytes, bytes) === 0;
      if (isKnown) return undefined;
      n++;
      const bare = {
        t: 'commit' as const,
        id,
        epoch,
        n,
        opening,
        state: { as: 'snapshot' as const, bytes, consumed, outputAt: output.end },
        inputStart: consumed,
        input: unread,
        fin,
        outputStart: output.start,
        output: output.slice(output.start, output.end),
        acked: output.start,
        ...(skipped === 0 ? {} : { skipped }),
      };
      last = { ...bare, chain: chainOf(bare, 0) };
      replicatedBytes += commitBytes(last);
      return last;
    },
    resume: (buddyHas) => (last === undefined || buddyHas === n ? [] : [last]),
  };
}
