/**
 * Small files of /proc and /sys as text. A file that is not there, or not for us, reads as undefined: on every host some
 * of them are missing, and a figure that cannot be measured is left out, never 0.
 */
import { closeSync, openSync, readSync } from 'node:fs';

/** /proc/diskstats of a host with 300 disks is 40 KB. */
const maxFileBytes = 256 * 1024;
const scratch = Buffer.allocUnsafeSlow(maxFileBytes);

/** The file's text, at most 256 KiB; undefined if it cannot be read. */
export function readText(path: string): string | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    let length = 0;
    for (;;) {
      const n = readSync(fd, scratch, length, maxFileBytes - length, null);
      length += n;
      if (n === 0 || length === maxFileBytes) break;
    }
    return scratch.toString('latin1', 0, length);
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** A file that holds one number; undefined for `max`, −1, and what is none. */
export function readNumber(path: string): number | undefined {
  return toCount(readText(path)?.trim());
}

/** The value behind `key` in lines of `key value`; undefined if there is none. */
export function valueOf(text: string | undefined, key: string): number | undefined {
  if (text === undefined) return undefined;
  const at = text.startsWith(`${key} `) ? 0 : text.indexOf(`\n${key} `) + 1;
  if (at === 0 && !text.startsWith(`${key} `)) return undefined;
  const end = text.indexOf('\n', at);
  return toCount(text.slice(at + key.length + 1, end < 0 ? undefined : end).trim());
}

/** Decimal digits as a number; undefined for anything else. */
export function toCount(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,20}$/.test(text) ? Number(text) : undefined;
}

/** A quotient that is one: undefined for a missing part, for 0 below the line, and for a counter that went back. */
export function ratioOf(part: number | undefined, whole: number | undefined): number | undefined {
  if (part === undefined || whole === undefined || !(whole > 0) || !(part >= 0)) return undefined;
  return part / whole;
}

/** How much a counter grew; undefined if it is missing, is new, or went back. */
export function growth(now: number | undefined, before: number | undefined): number | undefined {
  if (now === undefined || before === undefined || now < before) return undefined;
  return now - before;
}
