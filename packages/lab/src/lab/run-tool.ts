/** Runs a short system tool to its end; only for set-up and tear-down, never per session (a spawn costs 4 ms). */
import { spawnSync } from 'node:child_process';
import { RestitchError } from '@restitch/core';

/** Longest a set-up tool may take. */
const toolTimeoutMs = 20_000;

/** Standard output of `command args…`; throws `syscall_failed` with its standard error unless it exits with 0. */
export function runTool(command: string, args: readonly string[], input = ''): string {
  const result = spawnSync(command, args, { input, encoding: 'utf8', timeout: toolTimeoutMs });
  if (result.error !== undefined) {
    throw new RestitchError('unsupported_host', `cannot run ${command}: ${result.error.message}`, {
      cause: result.error,
    });
  }
  if (result.status !== 0) {
    throw new RestitchError(
      'syscall_failed',
      `${command} ${args.join(' ')}: exit ${result.status ?? result.signal ?? '?'}: ${result.stderr.trim()}`,
    );
  }
  return result.stdout;
}
