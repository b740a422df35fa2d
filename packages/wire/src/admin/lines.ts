/**
 * The admin socket: one JSON object a line. A request is answered by one `ok` or `error` line that carries its `id`; a stream
 * sends `event` lines before. What comes in a line is of the request's command: `adminCommands` has both schemas of each.
 */
import { RestitchError } from '@restitch/core';
import { z } from 'zod';
import { analyticsStatusSchema, explanationSchema, planSchema } from './analytics-answers.js';
import {
  drainSchema,
  endpointSchema,
  eventSchema,
  migrateSchema,
  movesSchema,
  noticeSchema,
  sessionTakeOverSchema,
  sessionsSchema,
  statsSchema,
  statusSchema,
  storySchema,
  takeOverSchema,
} from './answers.js';
import { type AdminRequest, adminRequestSchema } from './requests.js';

/** Longest request: 10,000 recommendations of longest ids fit twice. Answers come from the daemon, and have no bound. */
export const maxAdminRequestBytes = 4 * 1024 * 1024;

/** One line of request. */
export const adminLineSchema = z.object({ id: z.number().int(), request: adminRequestSchema });

/** One line of answer, before it is known what was asked. */
const adminAnswerSchema = z.union([
  z.strictObject({ id: z.number().int(), event: z.unknown() }),
  z.strictObject({ id: z.number().int(), ok: z.unknown() }),
  z.strictObject({
    id: z.number().int(),
    error: z.object({
      code: z.string(),
      message: z.string(),
      details: z.record(z.string(), z.unknown()).optional(),
    }),
  }),
]);
/** One line of answer, before it is known what was asked. */
type AdminAnswer = z.infer<typeof adminAnswerSchema>;

/** A recording of the engine's inputs; null: there was none. */
const recordingSchema = z.looseObject({ file: z.string(), inputs: z.number(), bytes: z.number() }).nullable();

/** What each command answers. */
const answerSchemas = {
  status: statusSchema,
  endpoints: z.array(endpointSchema),
  sessions: sessionsSchema,
  session: storySchema,
  migrate: migrateSchema,
  recommend: z.object({ queued: z.number() }),
  drain: drainSchema,
  undrain: endpointSchema,
  notice: z.union([z.object({ endpoint: z.string(), cancelled: z.boolean() }), noticeSchema]),
  notices: z.array(noticeSchema),
  'clients.forget': z.object({ prefix: z.string(), forgotten: z.number() }),
  moves: movesSchema,
  /** Ends with the connection. */
  watch: z.null(),
  'take-overs': z.array(takeOverSchema),
  'session-take-overs': z.array(sessionTakeOverSchema),
  stats: statsSchema,
  'analytics.status': analyticsStatusSchema,
  'analytics.plan': planSchema,
  'analytics.explain': explanationSchema,
  'analytics.mode': z.object({ mode: z.string(), dropped: z.number() }),
  'analytics.accept': z.object({ accepted: z.number() }),
  'analytics.record': z.object({ recording: recordingSchema }),
  'analytics.train': z.object({ training: z.literal(true) }),
  'analytics.rollback': z.object({ rollingBack: z.literal(true) }),
  reload: z.object({ reloaded: z.literal(true) }),
  pause: z.object({ pausedAt: z.array(z.string()) }),
  resume: z.object({ resumed: z.literal(true) }),
} as const satisfies Record<AdminRequest['cmd'], z.ZodType>;

/** What those send that stream. */
const eventSchemas = { drain: drainSchema, watch: eventSchema } as const;

type LiteralKeys<T> = keyof { [K in keyof T as string extends K ? never : number extends K ? never : K]: 1 };

/** As everybody reads and writes it: what a loose object may have beside its keys is nobody's business. */
type Known<T> =
  T extends ReadonlyArray<infer U>
    ? ReadonlyArray<Known<U>>
    : T extends object
      ? [LiteralKeys<T>] extends [never]
        ? Readonly<T>
        : { readonly [K in LiteralKeys<T>]: Known<T[K]> }
      : T;

/** What a command answers. */
export type AnswerTo<C extends AdminRequest['cmd']> = Known<z.output<(typeof answerSchemas)[C]>>;
/** What a command sends before its answer. */
export type EventOf<C extends AdminRequest['cmd']> = C extends keyof typeof eventSchemas
  ? Known<z.output<(typeof eventSchemas)[C]>>
  : never;

/** One session. */
export type SessionAnswer = AnswerTo<'sessions'>['sessions'][number];
/** A session with its record, its moves and its take-overs. */
export type StoryAnswer = AnswerTo<'session'>;
/** One ended move. */
export type MoveAnswer = AnswerTo<'migrate'>['move'];
/** One endpoint. */
export type EndpointAnswer = AnswerTo<'endpoints'>[number];
/** How far a drain is. */
export type DrainAnswer = AnswerTo<'drain'>;
/** One take-over of all sessions of a dead endpoint process. */
export type TakeOverAnswer = AnswerTo<'take-overs'>[number];
/** One session after the death of its endpoint. */
export type SessionTakeOverAnswer = AnswerTo<'session-take-overs'>[number];

/** A line from the daemon. Throws `version_unsupported`. */
export function parseAdminAnswer(line: string): AdminAnswer {
  let plain: unknown;
  try {
    plain = JSON.parse(line);
  } catch (cause) {
    throw new RestitchError('version_unsupported', 'the daemon answered something that is not JSON', {
      cause,
    });
  }
  return read(adminAnswerSchema, plain);
}

/** What a command answered. Throws `version_unsupported` if it is of another shape. */
export function readAnswer<C extends AdminRequest['cmd']>(cmd: C, ok: unknown): AnswerTo<C> {
  const schema: z.ZodType<unknown> = answerSchemas[cmd];
  return read(schema, ok) as AnswerTo<C>;
}

/** What a command sent before its answer. Throws `version_unsupported` if it is of another shape. */
export function readEvent<C extends AdminRequest['cmd']>(cmd: C, event: unknown): EventOf<C> {
  const schema = (eventSchemas as Partial<Record<string, z.ZodType>>)[cmd] ?? z.never();
  return read(schema, event) as EventOf<C>;
}

function read<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues.map((issue) => issue.path.join('.') || '(answer)').join(', ');
  throw new RestitchError(
    'version_unsupported',
    `the daemon's answer is of another version; not as expected: ${where}`,
  );
}
