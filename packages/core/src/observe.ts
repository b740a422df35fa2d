/** The two contracts a library takes to be observable, and their silent defaults. */

/** A structured logger; pino fits it. Session bytes and keys never go in. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

const drop = (): void => undefined;

/** Logs nothing. */
export const silentLogger: Logger = { debug: drop, info: drop, warn: drop, error: drop };

/** Named counters; names are `<component>_<what>[_<unit>]_total` without the `restitch_` prefix. */
export interface Counters {
  add(name: string, n?: number): void;
  get(name: string): number;
  entries(): ReadonlyArray<readonly [string, number]>;
}

/** Counters in memory. */
export function createCounters(): Counters {
  const values = new Map<string, number>();
  return {
    add: (name, n = 1) => void values.set(name, (values.get(name) ?? 0) + n),
    get: (name) => values.get(name) ?? 0,
    entries: () => [...values.entries()].sort(([a], [b]) => (a < b ? -1 : 1)),
  };
}
