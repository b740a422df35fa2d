/** A plain log for processes of ours: a line each on standard error. */
import type { Logger } from '@restitch/core';

/** Set it to `debug` to see every step, with its time (CLOCK_MONOTONIC milliseconds). */
const isDebugging = process.env.RESTITCH_LOG === 'debug';

const write =
  (level: string) =>
  (fields: object, message: string): void => {
    const at = isDebugging ? `${(Number(process.hrtime.bigint()) / 1e6).toFixed(3)} ` : '';
    process.stderr.write(`${at}${level} ${message} ${JSON.stringify(fields)}\n`);
  };

/** Without the debug level, unless it is asked for. */
export const stderrLogger: Logger = {
  debug: isDebugging ? write('debug') : () => undefined,
  info: write('info'),
  warn: write('warn'),
  error: write('error'),
};
