/** A plain log for processes of ours: a line each on standard error. */
import type { Logger } from '@restitch/core';

const write =
  (level: string) =>
  (fields: object, message: string): void =>
    void process.stderr.write(`${level} ${message} ${JSON.stringify(fields)}\n`);

/** Without the debug level. */
export const stderrLogger: Logger = {
  debug: () => undefined,
  info: write('info'),
  warn: write('warn'),
  error: write('error'),
};
