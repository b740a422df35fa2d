/** Shapes that messages of several channels share; each bounds what it takes, for it comes from a network. */
import { normalizeAddress } from '@restitch/core';
import { z } from 'zod';

/** An unsigned integer of 32 bits. */
export const u32 = z.number().int().min(0).max(0xffffffff);
/** 24 bits, as wide as in a flow's record (bpf/steering/consts.h): a wider one would write into the owner beside it. */
export const epochSchema = z.number().int().min(0).max(0xffffff);
const port = z.number().int().min(1).max(65535);
/** A name of a party or a listener. */
export const name = z.string().regex(/^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/, 'expected a DNS-like name');
/** An id that a party has made: of a session, a move, a process. */
export const id = z.string().regex(/^[!-~]{1,64}$/, 'expected 1 to 64 printable characters');

/** What moves a terminal's cursor or turns its text around: line ends, escapes, directional marks. */
const unprintable = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** True if nothing in the text could act in a terminal. */
export function isPrintable(text: string): boolean {
  return text.search(unprintable) < 0;
}

/** Words for people, from another party: they end up in terminals and logs, so nothing in them may act there. */
export const words = (maxLength: number) =>
  z
    .string()
    .max(maxLength)
    .transform((text) => text.replaceAll(unprintable, '?'));
/** A duration of at most a day. */
export const ms = z.number().nonnegative().max(86_400_000);

/** A record of at most `max` keys, counted before any is looked at: zod would collect an issue for each of a million. */
export function recordOf<T extends z.ZodType>(value: T, max: number) {
  const isSmall = (v: unknown): boolean =>
    typeof v === 'object' && v !== null && Object.keys(v).length <= max;
  return z.custom<object>(isSmall, `expected at most ${max} keys`).pipe(z.record(z.string().max(64), value));
}

/** An IP address, normalised: it becomes part of keys, and a key must not have two spellings. */
export const ipAddress = z
  .string()
  .max(45)
  .transform((text, ctx) => {
    try {
      return normalizeAddress(text);
    } catch {
      ctx.addIssue({ code: 'custom', message: 'expected an IP address' });
      return z.NEVER;
    }
  });

/** Address and port. */
export const socketAddressSchema = z.object({ address: ipAddress, port });
/** A flow. */
export const flowSchema = z.object({ client: socketAddressSchema, vip: socketAddressSchema });
/** Application name and version, compared before anything is frozen. */
export const appSchema = z.object({ name: words(64), version: words(64) });
