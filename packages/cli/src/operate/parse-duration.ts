/** Durations on the command line, written as in the configuration: a number and its unit. */
import { InvalidArgumentError } from 'commander';

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, min: 60_000, h: 3_600_000 };

/** `90s`, `10min`, `500ms`, `2h` to milliseconds. Throws commander's error for anything else. */
export function parseDurationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|min|h)$/.exec(text);
  const unit = unitMs[match?.[2] ?? ''];
  if (match?.[1] === undefined || unit === undefined) {
    throw new InvalidArgumentError('write a number and ms, s, min or h, such as 90s');
  }
  return Number(match[1]) * unit;
}
