/**
 * What owner and buddy say to each other over the state channel. What does not fit is refused at the border.
 *
 * Offsets count bytes of a direction from the start of the session (53 bits: 9 PB), not sequence numbers: they never
 * wrap, and a delta names the place where it belongs.
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { epochSchema, id, u32 } from '../codec/fields.js';
import { withOrdinaryCheck } from '../codec/parse-message.js';
import { isOrdinaryCommit, isOrdinaryCommitted, maxPartBytes } from './ordinary-messages.js';

const offset = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
/** Ids are as strict as the access point's: a replica that it cannot be told of would hide the others beside it. */
const epoch = epochSchema;
const part = z.custom<Uint8Array>(
  (v) => v instanceof Uint8Array && v.length <= maxPartBytes,
  `expected at most ${maxPartBytes} bytes`,
);

const commitSchema = z.object({
  t: z.literal('commit'),
  id,
  epoch,
  /** Counts from 1 in each epoch. */
  n: u32.min(1),
  /** What never changes in this epoch (ports, sequence origins, options): with the first commit and each snapshot. */
  opening: part.optional(),
  state: z
    .object({ as: z.enum(['snapshot', 'patch']), bytes: part, consumed: offset, outputAt: offset })
    .optional(),
  inputStart: offset,
  input: part,
  /** The client's FIN is covered by this commit. */
  fin: z.boolean(),
  outputStart: offset,
  output: part,
  /** The client has acknowledged the output up to here: the buddy may forget it. */
  acked: offset,
  /** Urgent bytes up to the end of the input: they take sequence numbers and are not in the stream. Left out: none. */
  skipped: u32.optional(),
  /** CRC-32 of this commit's parts on top of its predecessor's; a snapshot starts from 0. */
  chain: u32,
});

/** Owner → buddy. */
export const toBuddySchema = withOrdinaryCheck(
  z.discriminatedUnion('t', [
    commitSchema,
    /** After a reconnect: what do you have of these? */
    z.object({ t: z.literal('resume'), sessions: z.array(z.object({ id, epoch })).max(4096) }),
    /** The session ended, or has another buddy. */
    z.object({ t: z.literal('forget'), id, epoch }),
  ]),
  isOrdinaryCommit,
);

/** Buddy → owner. */
export const toOwnerSchema = withOrdinaryCheck(
  z.discriminatedUnion('t', [
    /** Cumulative, one message for all sessions of a turn. */
    z.object({
      t: z.literal('committed'),
      sessions: z.array(z.object({ id, epoch, n: u32 })).max(65_536),
    }),
    /** n is 0 for a session the buddy does not have. */
    z.object({
      t: z.literal('resume-from'),
      sessions: z.array(z.object({ id, epoch, n: u32 })).max(4096),
    }),
    /** What there was of it is gone. */
    z.object({ t: z.literal('forgotten'), id, epoch }),
    z.object({
      t: z.literal('commit-refused'),
      id,
      epoch,
      n: u32,
      code: z.enum(['stale_epoch', 'no_capacity', 'message_invalid', 'forbidden']),
    }),
  ]),
  isOrdinaryCommitted,
);

/** One commit on the wire. */
export type Commit = z.infer<typeof commitSchema>;
/** Owner → buddy. */
export type ToBuddy = z.infer<typeof toBuddySchema>;
/** Buddy → owner. */
export type ToOwner = z.infer<typeof toOwnerSchema>;

/** The checksum of a commit on top of `previous` (0 for a snapshot). */
export function chainOf(commit: Omit<Commit, 'chain'>, previous: number): number {
  const numbers = [commit.epoch, commit.n, commit.inputStart, commit.outputStart, commit.acked];
  const { state, skipped } = commit;
  if (skipped !== undefined) numbers.push(skipped);
  if (state !== undefined) numbers.push(state.consumed, state.outputAt);
  let sum = crc32(`${commit.id}|${numbers.join()}|${commit.fin}|${state?.as ?? ''}`, previous);
  for (const bytes of [commit.opening, state?.bytes, commit.input, commit.output]) {
    // Nothing added changes nothing; asking zlib so costs as much as the rest.
    if (bytes !== undefined && bytes.length > 0) sum = crc32(bytes, sum);
  }
  return sum;
}

/** Bytes a commit brings to the buddy. */
export function commitBytes(commit: Commit): number {
  const state = commit.state?.bytes.length ?? 0;
  return (commit.opening?.length ?? 0) + state + commit.input.length + commit.output.length;
}
