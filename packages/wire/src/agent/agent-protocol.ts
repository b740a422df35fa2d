/** What applications and the host agent say to each other: one JSON object a line over a unix socket. */
import { RestitchError } from '@restitch/core';
import { z } from 'zod';

const fromApplicationSchema = z.discriminatedUnion('t', [
  z.object({
    t: z.literal('join'),
    /** Name of the endpoint and its instance, as in its hello to the access point. */
    name: z.string().min(1).max(64),
    instance: z.string().min(1).max(64),
  }),
  /** It is about to end (or has changed its mind): its end will be no death. */
  z.object({ t: z.literal('leaving'), on: z.boolean() }),
]);

const toApplicationSchema = z.discriminatedUnion('t', [
  z.object({ t: z.literal('joined'), lease: z.number().int().min(1), pinDirectory: z.string() }),
  z.object({ t: z.literal('refused'), message: z.string() }),
]);

/** Application → agent. */
export type FromApplication = z.infer<typeof fromApplicationSchema>;
/** Agent → application. */
export type ToApplication = z.infer<typeof toApplicationSchema>;

/** Longest line either side takes. */
export const maxAgentLineBytes = 4096;

/** A line from an application. Throws `message_invalid`. */
export function parseFromApplication(line: string): FromApplication {
  return parse(fromApplicationSchema, line);
}

/** A line from the agent. Throws `message_invalid`. */
export function parseToApplication(line: string): ToApplication {
  return parse(toApplicationSchema, line);
}

function parse<T>(schema: z.ZodType<T>, line: string): T {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new RestitchError('message_invalid', 'agent: a line is not JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new RestitchError(
    'message_invalid',
    `agent: ${parsed.error.issues.map((i) => i.path.join('.')).join(', ')}`,
  );
}
