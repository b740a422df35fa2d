/** What a buddy must know of a session beside its state and positions: sent once an epoch, kept with the replica. */
import { type Flow, RestitchError } from '@restitch/core';
import { z } from 'zod';
import { appSchema, flowSchema, id } from '../codec/fields.js';
import { decodePlain, encodePlain } from '../codec/plain-codec.js';
import { type TcpTemplate, tcpTemplateSchema } from '../transfer/tcp-template.js';

const openingSchema = z.object({
  flow: flowSchema,
  listener: z.string().max(64),
  app: appSchema,
  openedAtMs: z.number().nonnegative(),
  moves: z.number().int().nonnegative(),
  instance: id.optional(),
  template: tcpTemplateSchema,
  level: z.enum(['periodic', 'commit']),
  commitBase: z.number().int().nonnegative(),
});

/** The unchanging part of a replica. */
export interface Opening {
  readonly flow: Flow;
  readonly listener: string;
  readonly app: { readonly name: string; readonly version: string };
  readonly openedAtMs: number;
  readonly moves: number;
  /** The owner's process; unknown of an owner of an older version. */
  readonly instance?: string | undefined;
  readonly template: TcpTemplate;
  /** How a take-over goes: at `periodic` the client is asked first. */
  readonly level: 'periodic' | 'commit';
  /** Commits of all owners before this one: the number an application sees goes on across them. */
  readonly commitBase: number;
}

/** As bytes. */
export function encodeOpening(opening: Opening): Buffer {
  return encodePlain(opening);
}

/** Bytes of another host as an opening. Throws `message_invalid` with paths only. */
export function decodeOpening(encoded: Uint8Array): Opening {
  const parsed = openingSchema.safeParse(decodePlain(encoded));
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues.map((i) => i.path.join('.')).join(', ');
  throw new RestitchError('message_invalid', `replica does not fit its schema: ${where}`);
}
