/** What the daemon answers, checked once here: the commands behind it read typed values. */
import { socketAddressSchema } from '@restitch/wire/internal';
import { z } from 'zod';

const flow = z.object({ client: socketAddressSchema, vip: socketAddressSchema });

const delays = z.object({ p50: z.number(), p99: z.number() });

/** What a session's protection costs, as its endpoint says. */
const replicationCostSchema = z.object({
  buddy: z.string().nullable(),
  commits: z.number(),
  replicatedBytes: z.number(),
  keptBytes: z.number(),
  commitDelayMs: delays,
  addedLatencyMs: delays,
});

/** Progress of a drain. */
export const drainSchema = z.object({
  endpoint: z.string(),
  state: z.enum(['draining', 'drained']),
  startedAtMs: z.number(),
  atStart: z.number(),
  moved: z.number(),
  ended: z.number(),
  left: z.number(),
  /** Of those, how many only deliver the rest to their clients. */
  closing: z.number().default(0),
  inMove: z.number(),
  /** Sockets that no session belongs to and that owe their clients something; null: not known. */
  residue: z.object({ sockets: z.number(), bytes: z.number() }).nullish(),
  /** The process itself is about to leave. */
  isLeaving: z.boolean().default(false),
  movedPerSec: z.number(),
  etaMs: z.number().nullable(),
  stuck: z.array(
    z.object({
      code: z.string(),
      sessions: z.number(),
      example: z.object({ sessionId: z.string(), reason: z.string() }),
    }),
  ),
  deadlineAtMs: z.number(),
  onDeadline: z.string(),
  isDeadlinePassed: z.boolean(),
});
/** Progress of a drain. */
export type DrainAnswer = z.infer<typeof drainSchema>;

/** One endpoint as `endpoint list` shows it. */
export const endpointSchema = z.looseObject({
  name: z.string(),
  id: z.number(),
  state: z.string(),
  weight: z.number(),
  sessions: z.number(),
  draining: drainSchema.nullish(),
  movesRunning: z.number(),
  app: z.object({ name: z.string(), version: z.string() }).nullable(),
  dataAddress: z.string().nullable(),
  eventLoopDelayMs: z.number(),
  lastHeardAgoMs: z.number().nullable(),
  /** Of endpoints that take part in crash protection. */
  replication: z
    .object({
      protectedSessions: z.number(),
      degradedSessions: z.number(),
      pendingSessions: z.number(),
      replicas: z.number(),
      replicaBytes: z.number(),
      replicatedBytes: z.number(),
      commitDelayMs: delays,
      addedLatencyMs: delays,
    })
    .nullish(),
});
/** One endpoint as `endpoint list` shows it. */
export type EndpointAnswer = z.infer<typeof endpointSchema>;

/** One session as `session list` shows it. */
export const sessionSchema = z.looseObject({
  id: z.string(),
  flow,
  endpoint: z.string(),
  epoch: z.number(),
  openedAtMs: z.number(),
  moves: z.number(),
  /** closing: its application has ended it, and its client lacks `tailBytes`. */
  phase: z.string().default('live'),
  tailBytes: z.number().nullish(),
  /** Its process has ended, and the kernel of its host delivers the rest. */
  isFinishing: z.boolean().default(false),
  pinned: z.string().nullable(),
  /** Who keeps its replica, and whom it can be moved to cheaply. */
  buddy: z.string().nullish(),
  cheapTarget: z.string().nullish(),
  move: z.object({ id: z.string(), state: z.string(), target: z.string() }).nullable(),
  doubt: z.string().nullable(),
});
/** One session as `session list` shows it. */
export type SessionAnswer = z.infer<typeof sessionSchema>;

/** One ended move. */
export const moveSchema = z.looseObject({
  seq: z.number(),
  moveId: z.string(),
  sessionId: z.string(),
  flow,
  source: z.string(),
  target: z.string(),
  epoch: z.number(),
  outcome: z.enum(['committed', 'refused', 'reverted', 'failed']),
  failure: z.object({ step: z.string(), code: z.string(), message: z.string() }).optional(),
  unconfirmed: z.boolean(),
  startedAtMs: z.number(),
  prepareMs: z.number(),
  moveMs: z.number(),
  confirmMs: z.number(),
  figures: z.record(z.string(), z.number()),
  steps: z.array(z.object({ state: z.string(), atMs: z.number() })),
});
/** One ended move. */
export type MoveAnswer = z.infer<typeof moveSchema>;

/** One session after the death of its endpoint. */
const takeOverSchema = z.object({
  atMs: z.number(),
  sessionId: z.string(),
  from: z.string(),
  to: z.string().nullable(),
  epoch: z.number(),
  outcome: z.enum(['taken', 'finishing', 'ended', 'lost']),
  reason: z.string().optional(),
  client: z.string().optional(),
  resetMs: z.number().optional(),
});
/** One session after the death of its endpoint. */
export type TakeOverAnswer = z.infer<typeof takeOverSchema>;

/** A session with its record and its moves. */
export const storySchema = z.object({
  session: sessionSchema.nullable(),
  record: z
    .looseObject({
      endpoint: z.string(),
      epoch: z.number(),
      phase: z.string(),
      packets: z.number(),
      bytes: z.number(),
      idleMs: z.number(),
    })
    .nullable(),
  moves: z.array(moveSchema),
  takeOvers: z.array(takeOverSchema).default([]),
  /** Of a session that has a buddy; null if its endpoint does not answer at once. */
  replication: replicationCostSchema.nullish(),
});
/** A session with its record and its moves. */
export type StoryAnswer = z.infer<typeof storySchema>;

/** What `session watch` receives. */
export const eventSchema = z.discriminatedUnion('t', [
  z.object({ t: z.literal('move'), atMs: z.number(), move: moveSchema }),
  z.object({ t: z.literal('opened'), atMs: z.number(), sessionId: z.string(), endpoint: z.string(), flow }),
  z.object({
    t: z.literal('ended'),
    atMs: z.number(),
    sessionId: z.string(),
    endpoint: z.string(),
    reason: z.string(),
  }),
  z.object({
    t: z.literal('endpoint'),
    atMs: z.number(),
    endpoint: z.string(),
    state: z.string(),
    before: z.string(),
  }),
  takeOverSchema.extend({ t: z.literal('take-over') }),
  z.object({ t: z.literal('analytics'), atMs: z.number(), name: z.string(), text: z.string() }),
]);
/** What `session watch` receives. */
export type EventAnswer = z.infer<typeof eventSchema>;

/** A certain event of an endpoint, or whether one was taken back. */
export const noticeSchema = z.union([
  z.object({ endpoint: z.string(), cancelled: z.boolean() }),
  z.object({ endpoint: z.string(), what: z.string(), inMs: z.number(), from: z.string() }),
]);
