/**
 * Bulk content as a function of the offset alone, so that either side can make or check any part of a stream.
 *
 * The period is a prime, so no shift by a segment, page or buffer size maps the stream onto itself.
 */
import { createHash } from 'node:crypto';

const periodBytes = 1_048_573;
const longestPieceBytes = 1 << 18;

let block: Buffer | undefined;

/** Bytes `offset` to `offset + length` of the stream; length at most 256 KiB. The result shares memory: do not write it. */
export function patternAt(offset: number, length: number): Buffer {
  block ??= makeBlock();
  const start = offset % periodBytes;
  return block.subarray(start, start + Math.min(length, longestPieceBytes));
}

/** The index of the first byte of `bytes` that is not the stream's at `offset`, or -1. */
export function findMismatch(bytes: Uint8Array, offset: number): number {
  for (let done = 0; done < bytes.length; ) {
    const expected = patternAt(offset + done, bytes.length - done);
    const piece = bytes.subarray(done, done + expected.length);
    if (Buffer.compare(piece, expected) !== 0) {
      const at = piece.findIndex((byte, i) => byte !== expected[i]);
      return done + at;
    }
    done += expected.length;
  }
  return -1;
}

/**
 * Where `bytes` (8 or more) stand in the stream, as a distance from `offset`, the nearest one; undefined if they are not a
 * piece of it at all.
 */
export function locatePattern(bytes: Uint8Array, offset: number): number | undefined {
  if (bytes.length < 8) return undefined;
  block ??= makeBlock();
  const at = block.indexOf(bytes);
  if (at < 0) return undefined;
  const ahead = (((at - offset) % periodBytes) + periodBytes) % periodBytes;
  return ahead <= periodBytes / 2 ? ahead : ahead - periodBytes;
}

/** Lower-case hexadecimal SHA-256 of the first `length` bytes of the stream. */
export function patternSha256(length: number): string {
  const hash = createHash('sha256');
  for (let offset = 0; offset < length; ) {
    const piece = patternAt(offset, length - offset);
    hash.update(piece);
    offset += piece.length;
  }
  return hash.digest('hex');
}

function makeBlock(): Buffer {
  const bytes = Buffer.alloc(periodBytes + longestPieceBytes);
  // xorshift32 (Marsaglia 2003): reproducible in both processes without carrying data around.
  let x = 0x9e3779b9;
  for (let i = 0; i < periodBytes; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    bytes[i] = x & 0xff;
  }
  bytes.copy(bytes, periodBytes, 0, longestPieceBytes);
  return bytes;
}
