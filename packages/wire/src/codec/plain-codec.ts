/**
 * Plain values to msgpack and back, for everything that crosses a border between parties.
 *
 * msgpackr alone is not enough at a border: its extensions build errors, regular expressions, Maps and, for records,
 * compiled readers out of what the peer sent. So the bytes are walked first, without allocating, and only the plain
 * subset of msgpack (nil, booleans, numbers, text, bytes, arrays, maps with text keys) gets to it.
 */
import { Packr } from 'msgpackr';
import { RestitchError } from '@restitch/core';

/** Plain data: what msgpack and structuredClone both carry. */
export type PlainData =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly PlainData[]
  | { readonly [key: string]: PlainData | undefined };

/** Deepest nesting of arrays and maps: messages need 6, application state hardly more; bounds the decoder's stack. */
export const maxPlainDepth = 64;

/** Most values in one encoding, keys counted: 64 MiB of empty maps would take the decoder half a minute. */
const defaultMaxPlainValues = 2 ** 22;

/** `skipValues` is documented but missing from msgpackr's types. */
const packrOptions = { useRecords: false, encodeUndefinedAsNil: true, skipValues: [undefined] } as const;
const packr = new Packr({ ...packrOptions });

/** A plain value as msgpack; keys whose value is undefined are left out. */
export function encodePlain(value: unknown): Buffer {
  return packr.pack(value);
}

/** msgpack to a plain value. Throws `message_invalid` for anything outside the plain subset, truncated or trailing. */
export function decodePlain(encoded: Uint8Array, maxValues = defaultMaxPlainValues): unknown {
  assertPlain(encoded, maxValues);
  try {
    return packr.unpack(encoded);
  } catch {
    throw refuse(encoded, 'is not msgpack');
  }
}

/** Walks the bytes of exactly one value. Throws `message_invalid` at the first byte outside the plain subset. */
export function assertPlain(encoded: Uint8Array, maxValues = defaultMaxPlainValues): void {
  /** Values still to come on each open level; maps count keys and values, and are marked by `isMap`. */
  const left: number[] = [1];
  const isMap: boolean[] = [false];
  let at = 0;
  let values = 1;
  while (left.length > 0) {
    const level = left.length - 1;
    const remaining = left[level] as number;
    if (remaining === 0) {
      left.pop();
      isMap.pop();
      continue;
    }
    left[level] = remaining - 1;
    const token = encoded[at];
    if (token === undefined) throw refuse(encoded, 'ends early');
    const isKey = isMap[level] === true && remaining % 2 === 0;
    if (isKey && !isTextToken(token)) throw refuse(encoded, 'has a map key that is not text');
    const size = bodyBytes(encoded, at, token);
    const children = childCount(encoded, at, token);
    at += size;
    if (at > encoded.length) throw refuse(encoded, 'ends early');
    if (children < 0) continue;
    // Each child takes a byte at least: a count beyond the rest is a lie, and refused before anything is allocated.
    if (children > encoded.length - at) throw refuse(encoded, 'ends early');
    values += children;
    if (values > maxValues) throw refuse(encoded, `has more than ${maxValues} values`);
    if (left.length > maxPlainDepth) throw refuse(encoded, `is nested deeper than ${maxPlainDepth}`);
    left.push(children);
    isMap.push(isMapToken(token));
  }
  if (at !== encoded.length) throw refuse(encoded, 'has bytes after its end');
}

function isTextToken(token: number): boolean {
  return (token >= 0xa0 && token <= 0xbf) || (token >= 0xd9 && token <= 0xdb);
}

function isMapToken(token: number): boolean {
  return (token >= 0x80 && token <= 0x8f) || token === 0xde || token === 0xdf;
}

/** Bytes of the token with its scalar body; for arrays and maps of the token with its count. */
function bodyBytes(b: Uint8Array, at: number, token: number): number {
  if (token < 0xa0 || token >= 0xe0) return 1;
  if (token < 0xc0) return 1 + (token & 0x1f);
  const width = tokenWidths[token - 0xc0] as number;
  if (width < 0) throw refuse(b, 'has an extension type');
  const isSized = (token >= 0xc4 && token <= 0xc6) || (token >= 0xd9 && token <= 0xdb);
  return 1 + width + (isSized ? readUint(b, at + 1, width) : 0);
}

/** Values that follow inside an array or map (keys and values both counted), −1 for a scalar. */
function childCount(b: Uint8Array, at: number, token: number): number {
  if (token >= 0x80 && token <= 0x8f) return 2 * (token & 0x0f);
  if (token >= 0x90 && token <= 0x9f) return token & 0x0f;
  if (token === 0xdc) return readUint(b, at + 1, 2);
  if (token === 0xdd) return readUint(b, at + 1, 4);
  if (token === 0xde) return 2 * readUint(b, at + 1, 2);
  if (token === 0xdf) return 2 * readUint(b, at + 1, 4);
  return -1;
}

/**
 * Bytes after the tokens 0xc0..0xdf: of the scalar, or of the length or count (msgpack spec, "Formats");
 * −1 for the extension types and the token that is never used.
 */
const tokenWidths: readonly number[] = [
  0, -1, 0, 0, 1, 2, 4, -1, -1, -1, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, -1, -1, -1, -1, -1, 1, 2, 4, 2, 4, 2, 4,
];

function readUint(b: Uint8Array, at: number, width: number): number {
  if (at + width > b.length) throw refuse(b, 'ends early');
  let n = 0;
  for (let i = 0; i < width; i++) n = n * 256 + (b[at + i] as number);
  return n;
}

function refuse(encoded: Uint8Array, what: string): RestitchError {
  return new RestitchError('message_invalid', `value of ${encoded.length} bytes ${what}`, {
    details: { reason: 'malformed' },
  });
}
