/** A laboratory for the time of one function: down again whatever happens, also when the user interrupts. */
import { RestitchError } from '@restitch/core';
import type { CliEnv } from '@restitch/console';
import type { Lab } from './lab.js';
import { openLab } from './open-lab.js';
import type { LabOptions } from './open-lab.js';

/** Opens a laboratory, runs `use`, takes it down. Rejects with `closed` as soon as `env.signal` is aborted. */
export async function withLab<T>(
  env: CliEnv,
  options: Omit<LabOptions, 'isKept'>,
  use: (lab: Lab) => Promise<T>,
): Promise<T> {
  const lab = await openLab({ ...options, isKept: false }, (text) => env.err(`${text}\n`));
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new RestitchError('closed', 'interrupted'));
    if (env.signal.aborted) onAbort();
    env.signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([use(lab), aborted]);
  } finally {
    env.signal.removeEventListener('abort', onAbort);
    await lab.down();
  }
}
