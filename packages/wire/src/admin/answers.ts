/**
 * What the daemon answers to the commands about itself, its endpoints and its sessions. Objects are loose: a reader hands on
 * what it does not know. What came later than the rest is optional or has a default, for a daemon that was started before
 * the command line was renewed.
 */
import { z } from 'zod';
import { replicationCostSchema, sessionStatsSchema } from '../control/replies.js';

/** As the daemon writes it: checked when it came in, so not normalised again. */
const socketAddressSchema = z.object({ address: z.string(), port: z.number() });
const flowSchema = z.object({ client: socketAddressSchema, vip: socketAddressSchema });
const delaysSchema = z.object({ p50: z.number(), p99: z.number() });
const countersSchema = z.record(z.string(), z.number());

/** How far a drain is. */
export const drainSchema = z.looseObject({
  endpoint: z.string(),
  state: z.enum(['draining', 'drained']),
  startedAtMs: z.number(),
  atStart: z.number(),
  moved: z.number(),
  ended: z.number(),
  left: z.number(),
  /** Of those that are left, how many only deliver the rest to their clients. */
  closing: z.number().default(0),
  inMove: z.number(),
  /** Sockets that no session belongs to and that owe their clients something; null: not known. */
  residue: z.object({ sockets: z.number(), bytes: z.number() }).nullish(),
  /** The process itself has said that it is about to leave, and no operator wants it. */
  isLeaving: z.boolean().default(false),
  /** Over the last seconds. */
  movedPerSec: z.number(),
  /** At this rate; null if nothing moves. */
  etaMs: z.number().nullable(),
  /** What does not leave, by reason code; of `residue` `sessions` counts sockets, and the example is no session's. */
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

/** A certain event of an endpoint. */
export const noticeSchema = z.object({
  endpoint: z.string(),
  what: z.string(),
  /** To its deadline; negative afterwards. */
  inMs: z.number(),
  from: z.string(),
});

/** One endpoint. */
export const endpointSchema = z.looseObject({
  name: z.string(),
  id: z.number(),
  /** The one word for people: its liveness, unless it is healthy and being drained. */
  state: z.string(),
  liveness: z.string(),
  drain: z.string(),
  weight: z.number(),
  sessions: z.number(),
  movesRunning: z.number(),
  /** These six as it said in its hello; null or empty before that. */
  app: z.object({ name: z.string(), version: z.string() }).nullable(),
  instance: z.string().nullable(),
  stateAddress: socketAddressSchema.nullable(),
  dataAddress: z.string().nullable(),
  listeners: z.array(z.object({ name: z.string(), vip: socketAddressSchema })),
  features: z.array(z.string()),
  eventLoopDelayMs: z.number(),
  /** null: it is not connected. */
  lastHeardAgoMs: z.number().nullable(),
  /** Its own figures, from its last heartbeat. */
  counters: countersSchema,
  telemetry: z
    .looseObject({ state: z.string(), ageMs: z.number().optional(), metrics: z.unknown().optional() })
    .optional(),
  path: z
    .looseObject({
      rttMs: z.number().optional(),
      lossRatio: z.number().optional(),
      bandwidthBps: z.number().optional(),
      bandwidthFrom: z.string().optional(),
      by: z.string(),
    })
    .nullish(),
  notice: noticeSchema.nullish(),
  draining: drainSchema.nullish(),
  /** Of endpoints that take part in crash protection. */
  replication: z
    .object({
      protectedSessions: z.number(),
      degradedSessions: z.number(),
      /** Not yet, or not again, at their buddy: 0 once a buddy's leaving or joining is dealt with. */
      pendingSessions: z.number(),
      replicas: z.number(),
      replicaBytes: z.number(),
      replicatedBytes: z.number(),
      commitDelayMs: delaysSchema,
      addedLatencyMs: delaysSchema,
    })
    .nullish(),
});

/** One session. */
const sessionSchema = z.looseObject({
  id: z.string(),
  flow: flowSchema,
  endpoint: z.string(),
  epoch: z.number(),
  openedAtMs: z.number(),
  moves: z.number(),
  /** closing: its application has ended it, and its client lacks `tailBytes`. */
  phase: z.string().default('live'),
  /** Bytes its client has not acknowledged, our FIN counted; of one whose application has ended its output. */
  tailBytes: z.number().nullish(),
  /** Its process has ended, and the kernel of its host delivers the rest. */
  isFinishing: z.boolean().default(false),
  pinned: z.string().nullable(),
  /** Who keeps its replica, and the same name again once it is there: it can be moved there cheaply. */
  buddy: z.string().nullish(),
  cheapTarget: z.string().nullish(),
  move: z.object({ id: z.string(), state: z.string(), target: z.string() }).nullable(),
  /** Why nobody can say who serves it. */
  doubt: z.string().nullable(),
  /** Of its client; only in a story. */
  location: z.string().nullish(),
});

/** A page of sessions in the order of their opening. */
export const sessionsSchema = z.object({ total: z.number(), sessions: z.array(sessionSchema) });

/** One ended move; `…Ns` are CLOCK_MONOTONIC, `…AtMs` is wall time. */
const moveSchema = z.looseObject({
  /** Counts ended moves of this daemon, from 1. */
  seq: z.number(),
  moveId: z.string(),
  sessionId: z.string(),
  /** For whom it was begun; `session`: it asked for it itself, by a recommendation. A daemon before 1.1 does not say. */
  origin: z.enum(['manual', 'session', 'drain', 'recommended']).optional(),
  flow: flowSchema,
  source: z.string(),
  target: z.string(),
  fromEpoch: z.number(),
  epoch: z.number(),
  outcome: z.enum(['committed', 'refused', 'reverted', 'failed']),
  failure: z.object({ step: z.string(), code: z.string(), message: z.string() }).optional(),
  /** Committed, but the client's own acknowledgement was not seen in time. */
  unconfirmed: z.boolean(),
  startedAtMs: z.number(),
  /** Packets were kept from here, and the record named the target from there; 0 if not reached. */
  holdNs: z.number(),
  switchNs: z.number(),
  endedNs: z.number(),
  prepareMs: z.number(),
  /** Hold to switch. */
  moveMs: z.number(),
  confirmMs: z.number(),
  busyTries: z.number(),
  figures: z.record(z.string(), z.number()),
  steps: z.array(z.object({ state: z.string(), atMs: z.number() })),
});

/** What came of a request to move. */
export const migrateSchema = z.object({ attempts: z.number(), move: moveSchema });

/** Ended moves; `lastSeq` is that of the newest. */
export const movesSchema = z.object({ lastSeq: z.number(), moves: z.array(moveSchema) });

/** One session after the death of its endpoint; `atMs` is wall time. */
export const sessionTakeOverSchema = z.looseObject({
  atMs: z.number(),
  sessionId: z.string(),
  flow: flowSchema,
  /** The dead endpoint. */
  from: z.string(),
  /** Who serves it now; null if nobody has a replica. */
  to: z.string().nullable(),
  epoch: z.number(),
  /**
   * taken: a buddy serves it. finishing: its application had ended it, and the kernel of its host delivers the rest.
   * ended: nobody has it, and its client was through. lost: nobody has it.
   */
  outcome: z.enum(['taken', 'finishing', 'ended', 'lost']),
  /** Why it was not taken. */
  reason: z.string().optional(),
  /** What the client of one that nobody has was told, and how long after that was known. */
  client: z.string().optional(),
  resetMs: z.number().optional(),
});

/** One take-over of all sessions of a dead endpoint process. */
export const takeOverSchema = z.looseObject({
  endpoint: z.string(),
  reason: z.string(),
  /** It had said that it would leave: no crash. */
  isLeaving: z.boolean(),
  /** From the last word of the process to its sessions being given away. */
  detectMs: z.number(),
  /** Until the last session was served again, or given up. */
  doneMs: z.number(),
  taken: z.number(),
  /** Nobody had them, and their clients had not been served to the end. */
  lost: z.number(),
  /** Nobody had them, and their clients were through. */
  ended: z.number(),
  /** Their applications had ended them, and the kernel of their host delivers the rest. */
  finishing: z.number(),
  /** Connections that no application had accepted. */
  bare: z.number(),
});

/** A session with its record, its moves and its take-overs; an ended one still has those that are remembered. */
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
      sawReset: z.boolean().optional(),
    })
    .nullable(),
  moves: z.array(moveSchema),
  takeOvers: z.array(sessionTakeOverSchema).default([]),
  /** Of a session that has a buddy; null if its endpoint does not answer at once. */
  replication: replicationCostSchema.nullish(),
});

/** What the sockets of an endpoint's sessions say. */
export const statsSchema = z.object({ endpoint: z.string(), sessions: z.array(sessionStatsSchema) });

/** The daemon itself. */
export const statusSchema = z.looseObject({
  name: z.string(),
  cluster: z.string(),
  pid: z.number(),
  startedAtMs: z.number(),
  /** It still asks who serves what it found in the maps. */
  isRebuilding: z.boolean(),
  /** Maps of an earlier daemon were taken over. */
  adopted: z.boolean(),
  sessions: z.number(),
  /** Of those, how many only deliver the rest to their clients. */
  closing: z.number().default(0),
  endpoints: z.number(),
  moves: z.object({ running: z.number(), waiting: z.number(), paused: z.number(), lastSeq: z.number() }),
  waitingCopies: z.number().default(0),
  doubts: z.number(),
  dataplane: z.looseObject({
    flows: z.number(),
    heldBytes: z.number(),
    heldDropped: z.number(),
    verdicts: countersSchema,
  }),
  counters: countersSchema,
  drains: z.array(drainSchema).default([]),
  memory: z.looseObject({ rss: z.number(), heapUsed: z.number() }).optional(),
});

/** What `watch` sends. */
export const eventSchema = z.discriminatedUnion('t', [
  z.object({ t: z.literal('move'), atMs: z.number(), move: moveSchema }),
  z.looseObject({
    t: z.literal('opened'),
    atMs: z.number(),
    sessionId: z.string(),
    endpoint: z.string(),
    flow: flowSchema,
  }),
  z.looseObject({
    t: z.literal('ended'),
    atMs: z.number(),
    sessionId: z.string(),
    endpoint: z.string(),
    reason: z.string(),
  }),
  z.looseObject({
    t: z.literal('endpoint'),
    atMs: z.number(),
    endpoint: z.string(),
    state: z.string(),
    before: z.string(),
  }),
  sessionTakeOverSchema.extend({ t: z.literal('take-over') }),
  /** Of the analytics: mode, fall-backs, brakes, models; see docs/analytics.md. */
  z.looseObject({ t: z.literal('analytics'), atMs: z.number(), name: z.string(), text: z.string() }),
]);
