/** Errors as they travel. */
import { type ErrorCode, RestitchError, isErrorCode } from '@restitch/core';
import { z } from 'zod';
import { recordOf, words } from './fields.js';

/** An error as it travels. */
export const failure = z.object({
  code: z.string().max(64),
  message: words(1000),
  details: recordOf(z.unknown(), 64).optional(),
});
/** An error as it travels. */
export type Failure = z.infer<typeof failure>;

/** An error as it travels. */
export function toFailure(error: RestitchError): Failure {
  return { code: error.code, message: error.message.slice(0, 1000), details: { ...error.details } };
}

/** A failure from the wire as an error; an unknown code becomes `internal`. */
export function fromFailure(f: Failure): RestitchError {
  const code: ErrorCode = isErrorCode(f.code) ? f.code : 'internal';
  return new RestitchError(code, f.message, { details: (f.details ?? {}) as Record<string, string> });
}
