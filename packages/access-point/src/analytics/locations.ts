/**
 * Where clients are, as the operator says: a table of CIDR blocks, the longest match wins; and an .mmdb for what the table
 * does not know. What neither knows is unknown, which is a value like any other.
 */
import { readFile } from 'node:fs/promises';
import { RestitchError, encodeAddress } from '@restitch/core';
import { isPrintable } from '@restitch/wire/internal';
import { maskBits, parseCidr } from './cidr.js';

/** Finds places. */
export interface Locations {
  /** A place as the operator names it, at most 64 characters; undefined: unknown. */
  find(address: string): string | undefined;
}

/** Files of one daemon; both optional. */
export interface LocationFiles {
  readonly locationsFile?: string;
  readonly locationDatabaseFile?: string;
}

/** What is read of an .mmdb, and what reads it: the package mmdb-lib. */
interface MmdbReader {
  get(address: string): unknown;
}

const maxTableBytes = 64 * 1024 * 1024;
const maxNameLength = 64;
/** Clients ask again and again; a place is looked up once an hour or so of a busy daemon. */
const maxCached = 10_000;

/** Knows nothing. */
export const noLocations: Locations = { find: () => undefined };

/** Reads the files. Throws `config_invalid` that names file and line, or the package that is missing. */
export async function openLocations(files: LocationFiles): Promise<Locations> {
  const { locationsFile, locationDatabaseFile } = files;
  const table =
    locationsFile === undefined ? undefined : parseTable(await read(locationsFile), locationsFile);
  const database = locationDatabaseFile === undefined ? undefined : await openDatabase(locationDatabaseFile);
  if (table === undefined && database === undefined) return noLocations;
  const cache = new Map<string, string | undefined>();
  return {
    find(address) {
      if (cache.has(address)) return cache.get(address);
      if (cache.size >= maxCached) cache.clear();
      const found = table?.(address) ?? database?.(address);
      cache.set(address, found);
      return found;
    },
  };
}

type Lookup = (address: string) => string | undefined;

/** Lines of `CIDR location`, parted by white space or a comma; `#` begins a comment. */
function parseTable(bytes: Buffer, file: string): Lookup {
  const byBits = new Map<number, Map<string, string>>();
  const wrong: string[] = [];
  bytes
    .toString('utf8')
    .split('\n')
    .forEach((line, i) => {
      const text = line.replace(/#.*/, '').trim();
      if (text === '') return;
      const [, cidr = '', place = ''] = /^([^\s,]+)[\s,]+(.+)$/.exec(text) ?? [];
      const block = parseCidr(cidr);
      if (block === undefined || !isPlace(place)) wrong.push(`${file}:${i + 1}: expected \`CIDR location\``);
      else {
        const blocks = byBits.get(block.bits) ?? new Map<string, string>();
        byBits.set(block.bits, blocks.set(toKey(block.bytes), place));
      }
    });
  if (wrong.length > 0) throw new RestitchError('config_invalid', wrong.slice(0, 5).join('\n'));
  const longestFirst = [...byBits].sort(([a], [b]) => b - a);
  return (address) => {
    const own = encodeAddress(address);
    for (const [bits, blocks] of longestFirst) {
      const place = blocks.get(toKey(maskBits(own, bits)));
      if (place !== undefined) return place;
    }
    return undefined;
  };
}

async function openDatabase(file: string): Promise<Lookup> {
  const reader = await openReader(await read(file), file);
  return (address) => {
    try {
      return placeOf(reader.get(address));
    } catch {
      return undefined;
    }
  };
}

async function openReader(bytes: Buffer, file: string): Promise<MmdbReader> {
  // Not a literal: the package is an optional peer, and the compiler is not to look for it.
  const name: string = 'mmdb-lib';
  let library: { Reader: new (bytes: Buffer) => MmdbReader };
  try {
    library = (await import(name)) as typeof library;
  } catch (cause) {
    throw new RestitchError(
      'config_invalid',
      `inputs.locationDatabase needs a package: npm install ${name}`,
      {
        cause,
      },
    );
  }
  try {
    return new library.Reader(bytes);
  } catch (cause) {
    throw new RestitchError('config_invalid', `${file} is no .mmdb: ${(cause as Error).message}`, { cause });
  }
}

/** Country and city of the usual databases (GeoLite2, DB-IP, ip-location-db), else the continent. */
function placeOf(record: unknown): string | undefined {
  const at = (path: readonly string[]): unknown =>
    path.reduce<unknown>(
      (value, key) =>
        typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined,
      record,
    );
  const country = at(['country', 'iso_code']) ?? at(['country_code']) ?? at(['continent', 'code']);
  const city = at(['city', 'names', 'en']) ?? at(['city']);
  const place = [country, city].filter((part) => typeof part === 'string' && part !== '').join('/');
  return isPlace(place) ? place : undefined;
}

function isPlace(text: string): boolean {
  return text !== '' && text.length <= maxNameLength && isPrintable(text);
}

function toKey(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

async function read(file: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new RestitchError('config_invalid', `cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
  if (!file.endsWith('.mmdb') && bytes.length > maxTableBytes) {
    throw new RestitchError('config_invalid', `${file} has more than ${maxTableBytes} bytes`);
  }
  return bytes;
}
