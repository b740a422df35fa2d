/**
 * The three levels of protection a listener can choose, and what bounds them.
 *
 * A level is fixed at SYN, because the kernel acknowledges as soon as data arrives.
 * docs/crash.md says in plain words what each level promises.
 */
import { RestitchError } from '@restitch/core';
import { z } from 'zod';

/** `none`: moves only. `periodic`: resumes only if the client proves nothing passed since. `commit`: nothing lost, nothing contradicted. */
export type ProtectionLevel = 'none' | 'periodic' | 'commit';

/** What a session does while no endpoint can be its buddy. @public */
export type DegradedRule = 'unprotected' | 'stall';

/** Kept output and uncommitted input of one session; at the bound the application is slowed, never unprotected. */
const defaultSessionBoundBytes = 4 * 1024 * 1024;

/** One second is what a person notices as "just now"; a shorter interval costs a message per session each time. */
const defaultPeriodicIntervalMs = 1000;

/** A log longer than this is replaced by a snapshot: replay at take-over then reads at most this much. */
const defaultLogBoundBytes = 64 * 1024;

const settingsSchema = z.strictObject({
  level: z.enum(['none', 'periodic', 'commit']).default('none'),
  /** Level periodic: longest time between a change and its checkpoint, if the application reaches a safe point. */
  intervalMs: z.number().int().min(10).max(3_600_000).default(defaultPeriodicIntervalMs),
  sessionBoundBytes: z
    .number()
    .int()
    .min(64 * 1024)
    .max(16 * 1024 * 1024)
    .default(defaultSessionBoundBytes),
  logBoundBytes: z.number().int().min(1024).default(defaultLogBoundBytes),
  degraded: z.enum(['unprotected', 'stall']).default('unprotected'),
  /**
   * The same input in the same state gives the same output: input bytes stand for the state after them, and a take-over
   * runs the application over them again. `session.commit()` is then the one that makes a snapshot.
   */
  replay: z.boolean().default(false),
});

/** Protection of one listener, all defaults filled in. */
export type ProtectionSettings = z.infer<typeof settingsSchema>;

/** What the user writes. */
export type ProtectionOptions = z.input<typeof settingsSchema>;

/** Options to settings. Throws `usage` that names each wrong key. */
export function parseProtection(options: ProtectionOptions): ProtectionSettings {
  const parsed = settingsSchema.safeParse(options);
  if (parsed.success) {
    if (!parsed.data.replay || parsed.data.level === 'commit') return parsed.data;
    throw new RestitchError(
      'usage',
      `protection settings: replay needs level commit, not ${parsed.data.level}`,
    );
  }
  const faults = parsed.error.issues.map((i) => `${i.path.join('.') || 'protection'}: ${i.message}`);
  throw new RestitchError('usage', `protection settings: ${faults.join('; ')}`);
}
