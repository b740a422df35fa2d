/** What applications and the host agent say to each other: one JSON object a line over a unix socket. */
import { RestitchError } from '@restitch/core';
import { z } from 'zod';
import { assertVersion, protocolSchema } from '../codec/version.js';

const fromApplicationSchema = z.discriminatedUnion('t', [
  z.object({
    t: z.literal('join'),
    protocol: protocolSchema,
    /** Name of the endpoint and its instance, as in its hello to the access point. */
    name: z.string().min(1).max(64),
    instance: z.string().min(1).max(64),
  }),
  /** It is about to end (or has changed its mind): its end will be no death. */
  z.object({ t: z.literal('leaving'), on: z.boolean() }),
]);

const toApplicationSchema = z.discriminatedUnion('t', [
  z.object({
    t: z.literal('joined'),
    protocol: protocolSchema,
    lease: z.number().int().min(1),
    pinDirectory: z.string(),
  }),
  /** `code`: of docs/errors.md; an agent of 1.0 does not say it. */
  z.object({ t: z.literal('refused'), code: z.string().optional(), message: z.string() }),
]);

/** Application → agent. */
export type FromApplication = z.infer<typeof fromApplicationSchema>;
/** Agent → application. */
export type ToApplication = z.infer<typeof toApplicationSchema>;

/** Longest line either side takes. */
export const maxAgentLineBytes = 4096;

/** A line from an application. Throws `message_invalid`, or `version_unsupported` for a `join` of another major. */
export function parseFromApplication(line: string): FromApplication {
  return parse(fromApplicationSchema, line, 'the application');
}

/** A line from the agent. Throws `message_invalid`, or `version_unsupported` for a `joined` of another major. */
export function parseToApplication(line: string): ToApplication {
  return parse(toApplicationSchema, line, 'the host agent');
}

function parse<T>(schema: z.ZodType<T>, line: string, peer: string): T {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new RestitchError('message_invalid', 'agent: a line is not JSON');
  }
  // Only the first message of each side has a version; the others pass as those of a peer that does not say.
  assertVersion(value, peer);
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new RestitchError(
    'message_invalid',
    `agent: ${parsed.error.issues.map((i) => i.path.join('.')).join(', ')}`,
  );
}
