/** What the daemon answers to `analytics …`; loose, for the engine says more than anybody reads by name. */
import { z } from 'zod';

const number = z.number().nullable().optional();
const risk = z.union([z.number(), z.literal('unknown')]).optional();
const amount = z.union([z.number(), z.literal('all')]).optional();

/** One endpoint in a status, or explained. */
const endpointLineSchema = z.looseObject({
  name: z.string(),
  uncertain: z.boolean(),
  sessions: z.number(),
  metric: z.string().optional(),
  load: number,
  p50: number,
  p90: number,
  limit: number,
  cores: z.number().optional(),
  overloadRisk: risk,
  /** Metrics without a figure. */
  unknown: z.array(z.string()).optional(),
  failureRisk: risk,
  pathRisk: risk,
  eventInS: number,
  accepts: z.boolean().optional(),
  score: number,
  need: amount,
  room: number,
});

const skillSchema = z.object({ skill: z.number().nullable(), certainty: z.number(), cases: z.number() });

/** How good the forecasts of a metric have been. */
const metricSchema = z.looseObject({
  metric: z.string(),
  horizonsS: z.array(z.number()),
  pinball: z.array(skillSchema),
  coverage80: z.array(z.number().nullable()),
  overload: z
    .looseObject({
      limit: z.number().nullable(),
      brierSkill: skillSchema,
      calibrationError: z.number().nullable(),
      reliability: z.array(z.object({ said: z.number(), happened: z.number(), cases: z.number() })),
      model: z.string(),
      shadow: skillSchema.nullable(),
      canRollBack: z.boolean(),
    })
    .nullable(),
});

/** `analytics.status`. */
export const analyticsStatusSchema = z.object({
  host: z.looseObject({
    mode: z.string(),
    engine: z.string(),
    restarts: z.number(),
    moves: z.object({
      given: z.number(),
      committed: z.number(),
      reverted: z.number(),
      refused: z.number(),
    }),
    events: z.array(z.object({ atMs: z.number(), name: z.string(), text: z.string() })),
  }),
  engine: z.union([
    z.object({ unavailable: z.string() }),
    z.looseObject({
      /** The one that decides, and the one that is configured. */
      rule: z.string(),
      configuredRule: z.string().optional(),
      skill: skillSchema.nullable(),
      brakes: z.array(z.string()),
      sessions: z.number(),
      pendingMoves: z.number(),
      metrics: z.array(metricSchema),
      insufficientCapacity: z.object({ missing: z.number(), endpoints: z.array(z.string()) }).nullable(),
      emptiable: z.string().nullable(),
      endpoints: z.array(endpointLineSchema),
    }),
  ]),
});

/** One move of a plan. */
const plannedMoveSchema = z.looseObject({
  session: z.string(),
  from: z.string(),
  to: z.string(),
  score: z.number(),
  scoreThere: z.number(),
  gain: z.number(),
  cost: z.number(),
  money: z.number(),
  deadlineAtMs: z.number(),
  reasons: z.array(z.string()),
});

/** `analytics.plan`. */
export const planSchema = z.object({
  mode: z.string(),
  plan: z
    .looseObject({
      planId: z.number(),
      disposition: z.string(),
      rule: z.string(),
      moves: z.array(plannedMoveSchema),
      insufficientCapacity: z.object({ missing: z.number(), endpoints: z.array(z.string()) }).optional(),
    })
    .nullable(),
});

const bandSchema = z.object({ aheadS: z.number(), p10: number, p50: number, p90: number });

/** `analytics.explain`. */
export const explanationSchema = z.union([
  z.looseObject({
    ...endpointLineSchema.shape,
    kind: z.literal('endpoint'),
    metrics: z.record(z.string(), z.number()),
    forecasts: z.array(
      z.object({
        metric: z.string(),
        limit: z.number().nullable(),
        past: z.array(z.number().nullable()),
        horizons: z.array(bandSchema),
      }),
    ),
  }),
  z.looseObject({
    kind: z.literal('session'),
    session: z.string(),
    endpoint: z.string().nullable(),
    client: z.string(),
    location: z.string().nullish(),
    buddy: z.string().nullish(),
    leavesByClass: z.boolean().nullish(),
    requestsPerSec: z.number(),
    bytesPerSec: z.number(),
    load: number,
    expectedLifeS: number,
    pinned: z.boolean(),
    moving: z.boolean(),
    movable: z.boolean().optional(),
    planned: plannedMoveSchema.nullable(),
    score: z.number().nullable(),
    contributions: z.array(z.object({ cause: z.string(), risk: z.number(), share: z.number() })).optional(),
    unknown: z.array(z.string()).optional(),
    targets: z
      .array(
        z.object({
          endpoint: z.string(),
          score: z.number(),
          allowed: z.boolean(),
          room: z.number(),
          gain: z.number(),
          cost: z.number(),
          megabytes: z.number().optional(),
          isBuddy: z.boolean().optional(),
          nearer: z.number().optional(),
        }),
      )
      .optional(),
  }),
]);
