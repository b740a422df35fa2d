/** The log of a laboratory's processes: a line each on standard error, which goes to the party's log file. */
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
