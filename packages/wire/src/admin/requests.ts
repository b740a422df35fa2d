/** What can be asked over the admin socket. */
import { z } from 'zod';

/** What can be announced from outside; drains come from `endpoint drain`. */
export const announceable = ['preemption', 'maintenance'] as const;
/** What can be announced from outside. */
export type Announceable = (typeof announceable)[number];

/** Steps as people read them. */
const moveSteps = [
  'reserve',
  'prepare',
  'hold',
  'freeze',
  'transfer',
  'thaw',
  'switch',
  'activate',
  'confirm',
  'release',
  'revert',
] as const;
/** Steps as people read them. */
export type MoveStep = (typeof moveSteps)[number];

const name = z.string().min(1).max(63);
const sessionId = z.string().min(1).max(64);

/** Every command with its arguments. */
export const adminRequestSchema = z.discriminatedUnion('cmd', [
  z.strictObject({ cmd: z.literal('status') }),
  z.strictObject({ cmd: z.literal('endpoints') }),
  /** Pages through sessions in the order of their opening; `after` is the last id of the page before. */
  z.strictObject({
    cmd: z.literal('sessions'),
    endpoint: name.optional(),
    offset: z.number().int().min(0).default(0),
    limit: z.number().int().min(1).max(10_000).default(1000),
  }),
  z.strictObject({ cmd: z.literal('session'), id: sessionId }),
  z.strictObject({
    cmd: z.literal('migrate'),
    id: sessionId,
    target: name.optional(),
    /** Also a pinned or busy session. */
    force: z.boolean().default(false),
  }),
  /** Puts moves on the queue of recommendations; answers at once. */
  z.strictObject({
    cmd: z.literal('recommend'),
    moves: z
      .array(z.strictObject({ id: sessionId, target: name.optional(), priority: z.number().default(0) }))
      .max(10_000),
  }),
  z.strictObject({
    cmd: z.literal('drain'),
    endpoint: name,
    deadlineMs: z.number().positive().optional(),
    onDeadline: z.enum(['wait', 'force', 'reset']).optional(),
    /** Sends progress until the endpoint is drained; else answers at once. */
    watch: z.boolean().default(false),
  }),
  z.strictObject({ cmd: z.literal('undrain'), endpoint: name }),
  /** Something certain about an endpoint's future, or that it is off. */
  z.strictObject({
    cmd: z.literal('notice'),
    endpoint: name,
    what: z.enum(announceable).default('preemption'),
    inMs: z.number().nonnegative().default(0),
    cancel: z.boolean().default(false),
  }),
  z.strictObject({ cmd: z.literal('notices') }),
  /** Forgets what is remembered of clients in a CIDR block. */
  z.strictObject({ cmd: z.literal('clients.forget'), prefix: z.string().min(1).max(64) }),
  /** Ended moves with a higher `seq`. */
  z.strictObject({
    cmd: z.literal('moves'),
    since: z.number().int().min(0).default(0),
    limit: z.number().int().min(1).max(100_000).default(10_000),
  }),
  /** Streams what happens: ended moves, openings, ends, liveness. */
  z.strictObject({ cmd: z.literal('watch'), session: sessionId.optional() }),
  /** Take-overs of dead endpoints' sessions, oldest first. */
  z.strictObject({ cmd: z.literal('take-overs') }),
  /** The same session by session, oldest first; of those that died with all their copies what their clients were told. */
  z.strictObject({ cmd: z.literal('session-take-overs') }),
  z.strictObject({ cmd: z.literal('stats'), endpoint: name }),
  /** How the analytics are: mode, skill, brakes, endpoints. */
  z.strictObject({ cmd: z.literal('analytics.status') }),
  /** The plan of the last tick. */
  z.strictObject({ cmd: z.literal('analytics.plan') }),
  /** Why a session or an endpoint has its score. */
  z.strictObject({ cmd: z.literal('analytics.explain'), name: sessionId }),
  /** Counts before it is answered, whatever the engine does. */
  z.strictObject({ cmd: z.literal('analytics.mode'), mode: z.enum(['off', 'shadow', 'advise', 'act']) }),
  z.strictObject({ cmd: z.literal('analytics.accept'), planId: z.number().int().min(1) }),
  /** Begins a recording anew, or with null ends it. */
  z.strictObject({ cmd: z.literal('analytics.record'), file: z.string().min(1).max(4096).nullable() }),
  z.strictObject({ cmd: z.literal('analytics.train') }),
  z.strictObject({ cmd: z.literal('analytics.rollback') }),
  z.strictObject({ cmd: z.literal('reload') }),
  /** Laboratory only. */
  z.strictObject({ cmd: z.literal('pause'), step: z.enum(moveSteps) }),
  /** Laboratory only. */
  z.strictObject({ cmd: z.literal('resume') }),
]);
/** Every command with its arguments, defaults filled in. */
export type AdminRequest = z.output<typeof adminRequestSchema>;
/** Every command as a caller writes it; `C` narrows to some. */
export type AdminCall<C extends AdminRequest['cmd'] = AdminRequest['cmd']> = { readonly cmd: C } & Extract<
  z.input<typeof adminRequestSchema>,
  { cmd: C }
>;
