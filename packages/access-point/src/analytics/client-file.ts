/**
 * The past of clients as a file: a header, one record a prefix, a checksum. Single-precision numbers: decayed counts need no
 * more, and 10,000 prefixes are 4 MB. Bytes in, values out; no I/O.
 */
import { createHash } from 'node:crypto';
import type { StoredHistory } from '@restitch/analytics';

/** One prefix as it is stored; `''` is everybody together. */
export interface ClientRecord {
  readonly prefix: string;
  /** Wall time of its last sign of life. */
  readonly seenAtMs: number;
  readonly numbers: ArrayLike<number>;
}

/** A file that was read. */
export interface ClientFile {
  readonly savedAtMs: number;
  readonly history: StoredHistory;
  readonly seen: ReadonlyMap<string, number>;
}

const magic = 'RSCL';
const version = 1;
/** magic 4, version 2, numbers a prefix 2, saved at 8, count 4. */
const headerBytes = 20;
const checksumBytes = 16;

/** Head of a file with `count` records of `numbers` numbers. */
export function encodeHeader(count: number, numbers: number, savedAtMs: number): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.write(magic, 0, 'latin1');
  header.writeUInt16LE(version, 4);
  header.writeUInt16LE(numbers, 6);
  header.writeDoubleLE(savedAtMs, 8);
  header.writeUInt32LE(count, 16);
  return header;
}

/** One record. */
export function encodeRecord({ prefix, seenAtMs, numbers }: ClientRecord): Buffer {
  const name = Buffer.from(prefix, 'latin1');
  const record = Buffer.alloc(1 + name.length + 8 + 4 * numbers.length);
  record.writeUInt8(name.length, 0);
  name.copy(record, 1);
  record.writeDoubleLE(seenAtMs, 1 + name.length);
  for (let i = 0; i < numbers.length; i++) record.writeFloatLE(numbers[i] ?? 0, 9 + name.length + 4 * i);
  return record;
}

/** What stands at the end. */
export function checksumOf(parts: readonly Buffer[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest().subarray(0, checksumBytes);
}

/** Reads a whole file; or says in words what is wrong with it. */
export function decodeClientFile(file: Buffer): ClientFile | string {
  if (file.length < headerBytes + checksumBytes) return 'it is cut off';
  if (file.toString('latin1', 0, 4) !== magic) return 'it is no history of clients';
  if (file.readUInt16LE(4) !== version)
    return `it has version ${file.readUInt16LE(4)}, this build reads ${version}`;
  const end = file.length - checksumBytes;
  if (!checksumOf([file.subarray(0, end)]).equals(file.subarray(end))) return 'its checksum is wrong';
  const width = file.readUInt16LE(6);
  const prefixes: Array<[string, number[]]> = [];
  const seen = new Map<string, number>();
  let at = headerBytes;
  for (let n = file.readUInt32LE(16); n > 0; n--) {
    const nameBytes = at < end ? file.readUInt8(at) : 0;
    if (at + 9 + nameBytes + 4 * width > end) return 'it is cut off';
    const prefix = file.toString('latin1', at + 1, at + 1 + nameBytes);
    seen.set(prefix, file.readDoubleLE(at + 1 + nameBytes));
    at += 9 + nameBytes;
    prefixes.push([prefix, Array.from({ length: width }, (_, i) => file.readFloatLE(at + 4 * i))]);
    at += 4 * width;
  }
  return { savedAtMs: file.readDoubleLE(8), history: { version: 1, prefixes }, seen };
}
