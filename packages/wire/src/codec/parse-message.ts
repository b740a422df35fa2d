/**
 * The one way from a decoded value to a message. A schema may bring a check by hand for the messages on its hot path;
 * whoever receives does not see which of both said yes.
 */
import { RestitchError } from '@restitch/core';
import type { z } from 'zod';

/** True if the schema of that direction would return `value` as it is. */
export type OrdinaryCheck = (value: unknown) => boolean;

/** Messages that need not go through their schema. */
const ordinaryChecks = new WeakMap<z.ZodType, OrdinaryCheck>();

/** The schema, with a check that accepts its ordinary messages at a tenth of its price. */
export function withOrdinaryCheck<T extends z.ZodType>(schema: T, check: OrdinaryCheck): T {
  ordinaryChecks.set(schema, check);
  return schema;
}

/** Checks a plain value against a schema. Throws `message_invalid` with paths only, never values. */
export function parseMessage<T>(schema: z.ZodType<T>, value: unknown, from: string): T {
  if (ordinaryChecks.get(schema)?.(value) === true) return value as T;
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues
    .slice(0, 5)
    .map((i) => `${i.path.join('.') || '(message)'}: ${i.code}`)
    .join(', ');
  throw new RestitchError('message_invalid', `message from ${from} refused: ${where}`);
}
