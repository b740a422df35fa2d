/** What a buddy must know of a session beside its state and positions: sent once an epoch, kept with the replica. */
import { type Flow, RestitchError } from '@restitch/core';
import { appSchema, decodePlain, encodePlain, flowSchema, tcpImageSchema } from '@restitch/core/internal';
import { z } from 'zod';
import type { TcpTemplate } from '../tcp/index.js';

const u32 = z.number().int().min(0).max(0xffffffff);

const templateSchema = tcpImageSchema
  .pick({
    mssClamp: true,
    sndWscale: true,
    rcvWscale: true,
    hasWscale: true,
    hasSack: true,
    hasTimestamps: true,
    timestamp: true,
    window: true,
    options: true,
    congestion: true,
  })
  .extend({ clientStart: u32, serverStart: u32, readAtMs: z.number() });

const openingSchema = z.object({
  flow: flowSchema,
  listener: z.string().max(64),
  app: appSchema,
  openedAtMs: z.number().nonnegative(),
  moves: z.number().int().nonnegative(),
  instance: z
    .string()
    .regex(/^[!-~]{1,64}$/)
    .optional(),
  template: templateSchema,
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
