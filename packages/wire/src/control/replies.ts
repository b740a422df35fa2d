/**
 * What an endpoint answers to each request of the access point. A reply on the wire does not say what it answers, so whoever
 * asked keeps that and reads the data by the schema of its request (`parseReply`); whoever answers is held to the same
 * schema by its types.
 *
 * Figures are optional: what an endpoint does not measure it leaves out, and the access point goes on without.
 */
import { z } from 'zod';
import { epochSchema, flowSchema, id, name, u32, words } from '../codec/fields.js';
import { parseMessage } from '../codec/parse-message.js';
import type { EndpointRequest } from './messages.js';

const figure = z.number().nonnegative();
const count = z.number().int().nonnegative();

/** One replica, as the buddy tells of it. */
const replicaReportSchema = z.object({
  id,
  epoch: epochSchema,
  n: u32,
  /** These only when all replicas are asked for: whose it is, of which process, and of which connection. */
  owner: name.optional(),
  instance: id.optional(),
  flow: flowSchema.optional(),
  openedAtMs: z.number().nonnegative().optional(),
});
/** One replica, as the buddy tells of it. */
export type ReplicaReport = z.infer<typeof replicaReportSchema>;
/** Replicas on a page. */
export const replicasPerPage = 2048;
/** More than a control message has room for, and a bound all the same. */
const maxReplicas = 131_072;

/** Milliseconds; 0 before anything was seen. */
const delaysSchema = z.object({ p50: figure, p99: figure });

/** What the protection of a session costs, at level commit; see `ReplicationCost` of the SDK. */
export const replicationCostSchema = z.object({
  buddy: name.nullable(),
  commits: count,
  replicatedBytes: figure,
  keptBytes: figure,
  commitDelayMs: delaysSchema,
  addedLatencyMs: delaysSchema,
});

/** What the kernel says of a session's socket; counts since that socket was made. */
export const sessionStatsSchema = z.object({
  id,
  /** Retransmission timeouts; of the running series only, on kernels before 6.7. */
  rtos: count,
  retransmittedSegments: count,
  rttUs: figure,
  unackedSegments: count,
  segmentsIn: count,
  segmentsOut: count,
  /** Read from the kernel, not yet consumed by the application. */
  unreadBytes: figure,
  /** Written by the application, not yet taken by the kernel. */
  unwrittenBytes: figure,
  replication: replicationCostSchema.optional(),
});
/** What the kernel says of a session's socket. */
export type SessionStats = z.infer<typeof sessionStatsSchema>;

/** By request. */
export const replySchemas = {
  /** What the target can do with an image. */
  reserve: z.object({ features: z.array(words(40)).max(64) }),
  prepare: z.object({}),
  freeze: z.object({
    imageBytes: figure,
    freezeUs: figure,
    freezeCpuUs: figure.optional(),
    /** Of a protected session: what its buddy lacked, and 1 if the target is its buddy. */
    deltaBytes: figure.optional(),
    toBuddy: figure.optional(),
  }),
  /** Nothing, if it had been activated already. `thawCpuUs`: of both halves of the thaw. */
  activate: z.object({ activateUs: figure.optional(), thawCpuUs: figure.optional() }),
  abort: z.object({}),
  /** False: the move was called off before the freeze, or is not known. */
  revert: z.object({ wasFrozen: z.boolean() }),
  release: z.object({}),
  /** One word for each flow of the request, in its order. */
  query: z.object({ owned: z.array(z.boolean()).max(4096) }),
  /** Sockets with something that their clients have not acknowledged, and how much. */
  residue: z.object({ sockets: count, bytes: figure }),
  /** How many sessions were reset. */
  reset: z.object({ reset: count }),
  /** Of those sessions that live here. */
  stats: z.object({ sessions: z.array(sessionStatsSchema).max(4096) }),
  replicas: z.object({ replicas: z.array(replicaReportSchema).max(maxReplicas) }),
  /** `isRepeat`: it was taken over already. `commit`: the newest one that was there. */
  'take-over': z.object({ takeOverUs: figure, commit: u32.optional(), isRepeat: z.boolean().optional() }),
} as const satisfies Record<EndpointRequest['t'], z.ZodType>;

/** What is answered to a request of this kind. */
export type ReplyTo<T extends EndpointRequest['t']> = z.infer<(typeof replySchemas)[T]>;
/** What is answered to any request. */
export type Reply = ReplyTo<EndpointRequest['t']>;

/** The data of a reply to a request of kind `to`. Throws `message_invalid` with paths only. */
export function parseReply<T extends EndpointRequest['t']>(to: T, data: unknown, from: string): ReplyTo<T> {
  return parseMessage(replySchemas[to] as unknown as z.ZodType<ReplyTo<T>>, data, `${from} (${to})`);
}
