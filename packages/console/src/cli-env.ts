/**
 * What a command may touch of the process that runs it, handed in so that tests can run commands in process.
 *
 * Results go to `out`, progress and errors to `err`: `--json` output stays parseable whatever happens beside it.
 */
import { RestitchError, toRestitchError } from '@restitch/core';

/** Exit codes of every command. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, degraded: 3 } as const;

/** Streams and cancellation of one command run. */
export interface CliEnv {
  /** Writes text to standard output as it is. */
  readonly out: (text: string) => void;
  /** Writes text to standard error as it is. */
  readonly err: (text: string) => void;
  /** Standard output is a terminal. */
  readonly isTerminal: boolean;
  /** Aborted by SIGINT and SIGTERM; a command then cleans up and returns. */
  readonly signal: AbortSignal;
}

/** The environment of the real process; signals abort it, a second one ends the process at once. */
export function createProcessEnv(): CliEnv {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(exitCodes.failed);
    controller.abort(new RestitchError('closed', 'interrupted'));
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isTerminal: process.stdout.isTTY,
    signal: controller.signal,
  };
}

/** The exit code that tells a caller what kind of failure it was. */
export function toExitCode(error: unknown): number {
  const { code } = toRestitchError(error);
  const isUsage =
    code === 'usage' ||
    code === 'config_invalid' ||
    code === 'unsupported_host' ||
    code === 'unsupported_node';
  return isUsage ? exitCodes.usage : exitCodes.failed;
}
