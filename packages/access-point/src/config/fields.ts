/** The kinds of values a configuration has. Each says what is wrong and, in `params.remedy`, what would be right. */
import { isAbsolute } from 'node:path';
import { type SocketAddress, encodeAddress, formatSocketAddress, normalizeAddress } from '@restitch/core';
import { z } from 'zod';
import { type Quantity, parseBitRate, parseBytes, parseDuration } from './units.js';

type Context = z.core.$RefinementCtx<unknown>;

/** Adds an issue with its remedy; `path` is below the value that is being checked. */
export function addIssue(ctx: Context, problem: string, remedy: string, path: PropertyKey[] = []): void {
  ctx.issues.push({ code: 'custom', message: problem, input: ctx.value, path, params: { remedy } });
}

/** A field read by `read`; a thrown or returned refusal becomes an issue. */
function field<T>(read: (raw: unknown, refuse: (problem: string, remedy: string) => T) => T) {
  return z.unknown().transform((raw, ctx): T => {
    let refused = false;
    const value = read(raw, (problem, remedy) => {
      refused = true;
      addIssue(ctx as unknown as Context, raw === undefined ? 'is missing' : problem, remedy);
      return undefined as T;
    });
    return refused ? z.NEVER : value;
  });
}

function quantity(parse: (raw: unknown) => Quantity, least: { value: number; text: string }) {
  return field<number>((raw, refuse) => {
    const read = parse(raw);
    if ('problem' in read) return refuse(read.problem, read.remedy);
    if (read.value < least.value)
      return refuse(`${String(raw)} is too small`, `write at least ${least.text}`);
    return read.value;
  });
}

/** A duration above zero, in milliseconds once read. */
export const duration = quantity(parseDuration, { value: 1, text: '1ms' });
/** A duration that may be zero. */
export const durationOrZero = quantity(parseDuration, { value: 0, text: '0s' });
/** A size in bytes. */
export const size = quantity(parseBytes, { value: 1, text: '1B' });

/** Bits a second. */
export const bitRate = quantity(parseBitRate, { value: 1000, text: '1kbit' });

/** A point in time, milliseconds since 1970 once read. */
export const instant = field<number>((raw, refuse) => {
  const text = typeof raw === 'string' ? raw : '';
  const isWhole = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)$/.test(text);
  const atMs = isWhole ? Date.parse(text) : Number.NaN;
  return Number.isFinite(atMs)
    ? atMs
    : refuse(
        `${show(raw)} is not a point in time`,
        'write date, time and zone, such as "2027-01-31T22:00:00Z" (with the quotes)',
      );
});

/** A whole number between two bounds. */
export function count(min: number, max: number) {
  return field<number>((raw, refuse) =>
    typeof raw === 'number' && Number.isInteger(raw) && raw >= min && raw <= max
      ? raw
      : refuse(
          `${show(raw)} is not a whole number from ${min} to ${max}`,
          `write a whole number from ${min} to ${max}, without a unit`,
        ),
  );
}

/** A number between two bounds; fractions are fine. */
export function amount(min: number, max: number) {
  return field<number>((raw, refuse) =>
    typeof raw === 'number' && raw >= min && raw <= max
      ? raw
      : refuse(`${show(raw)} is not a number from ${min} to ${max}`, `write a number such as ${max}`),
  );
}

/** A DNS-like name, as certificates carry it. */
export const name = field<string>((raw, refuse) =>
  typeof raw === 'string' && /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/.test(raw)
    ? raw
    : refuse(
        `${show(raw)} is not a name`,
        'write 1 to 63 lower-case letters, digits, dots and dashes; quote a number',
      ),
);

/** A network interface's name (linux/if.h IFNAMSIZ). */
export const interfaceName = field<string>((raw, refuse) =>
  typeof raw === 'string' && /^[^\s/:]{1,15}$/.test(raw)
    ? raw
    : refuse(
        `${show(raw)} is not an interface name`,
        'write a name of at most 15 characters, as `ip link` shows it',
      ),
);

/** An absolute path. */
export const path = field<string>((raw, refuse) =>
  typeof raw === 'string' && isAbsolute(raw) && !raw.includes('\0')
    ? raw
    : refuse(`${show(raw)} is not an absolute path`, 'write a path that begins with /'),
);

/** One of a few words. */
export function oneOf<const T extends string>(...words: readonly T[]) {
  return field<T>((raw, refuse) =>
    words.includes(raw as T)
      ? (raw as T)
      : refuse(`${show(raw)} is not known here`, `write one of: ${words.join(', ')}`),
  );
}

/** A label's value. */
export const labelValue = field<string>((raw, refuse) =>
  typeof raw === 'string' && raw.length <= 200
    ? raw
    : refuse(`${show(raw)} is not text`, 'write text, in quotes if it looks like a number'),
);

/** `10.0.0.1:80`, `"[2001:db8::1]:80"` or a map of address and port. */
export const socketAddress = field<SocketAddress>((raw, refuse) => {
  const remedy = 'write address:port, such as 10.0.0.100:8080 or "[2001:db8::1]:8080" (with the quotes)';
  const parts = addressParts(raw);
  if (parts === undefined) return refuse(`${show(raw)} is not an address with a port`, remedy);
  const { address, port } = parts;
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    return refuse(`port ${show(port)} is out of range`, 'write a port from 1 to 65535');
  }
  try {
    encodeAddress(address);
  } catch {
    return refuse(`${show(address)} is not an IP address`, remedy);
  }
  return { address: normalizeAddress(address), port };
});

/** For messages: the address as it is written in a configuration. */
export const showAddress = formatSocketAddress;

function addressParts(raw: unknown): { address: string; port: number } | undefined {
  if (typeof raw === 'string') {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(raw.trim());
    return match === null ? undefined : { address: match[1] ?? match[2] ?? '', port: Number(match[3]) };
  }
  const map = raw as { address?: unknown; port?: unknown } | null;
  if (typeof map !== 'object' || typeof map?.address !== 'string' || typeof map.port !== 'number')
    return undefined;
  if (Object.keys(map).length !== 2) return undefined;
  return { address: map.address, port: map.port };
}

/** A value in a message, cut short. */
function show(raw: unknown): string {
  if (raw === undefined) return 'nothing';
  const text = JSON.stringify(raw) ?? String(raw);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
