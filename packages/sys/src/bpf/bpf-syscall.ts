/**
 * bpf(2) by its number: maps, pins and test runs. libbpf has all of these too, but its calls want structs and strings
 * per call; an attribute Buffer that is written and passed costs 1.1 µs for a map update.
 *
 * Offsets are those of `union bpf_attr` in linux/bpf.h. The kernel takes a longer attribute whose tail is zero.
 */
import { existsSync, readFileSync } from 'node:fs';
import { RestitchError } from '@restitch/core';
import { Fd } from '../fd.js';
import { SyscallError, addressOf, errno, lastErrno, libc } from '../libc.js';

const syscallFn = libc.declare('long syscall(long number, long command, void *attr, long size)');

/** asm/unistd.h, by architecture. */
const bpfNumber = process.arch === 'arm64' ? 280 : 321;

const commands = {
  mapCreate: 0,
  mapLookup: 1,
  mapUpdate: 2,
  mapDelete: 3,
  mapNextKey: 4,
  objPin: 6,
  objGet: 7,
  progTestRun: 10,
  mapLookupBatch: 24,
  mapDeleteBatch: 27,
} as const;
type Command = keyof typeof commands;

const attrBytes = 128;
const scratch = Buffer.alloc(attrBytes);

function run(command: Command, attr: Buffer): number {
  return syscallFn(bpfNumber, commands[command], attr, attrBytes);
}

function runOrThrow(command: Command, attr: Buffer, what: string): number {
  const result = run(command, attr);
  if (result < 0) throw new SyscallError(`bpf(${command})`, lastErrno(), -1, what);
  return result;
}

function setPointer(attr: Buffer, offset: number, memory: Uint8Array | null): void {
  attr.writeBigUInt64LE(memory === null ? 0n : addressOf(memory), offset);
}

function elementAttr(mapFd: number, key: Uint8Array, value: Uint8Array | null, flags = 0): Buffer {
  scratch.fill(0, 0, 32);
  scratch.writeUInt32LE(mapFd, 0);
  setPointer(scratch, 8, key);
  setPointer(scratch, 16, value);
  scratch.writeUInt32LE(flags, 24);
  return scratch;
}

/** Reads one element into `value`; false if the key is not there. Buffers by `Buffer.alloc`, exactly the map's sizes. */
export function lookupElement(mapFd: number, key: Uint8Array, value: Uint8Array): boolean {
  if (run('mapLookup', elementAttr(mapFd, key, value)) >= 0) return true;
  const error = lastErrno();
  if (error === errno.ENOENT) return false;
  throw new SyscallError('bpf(mapLookup)', error, mapFd);
}

/** Writes one element. `flags`: 0 any, 1 only if new, 2 only if there. */
export function updateElement(mapFd: number, key: Uint8Array, value: Uint8Array, flags = 0): void {
  if (run('mapUpdate', elementAttr(mapFd, key, value, flags)) < 0)
    throw new SyscallError('bpf(mapUpdate)', lastErrno(), mapFd);
}

/** Deletes one element; false if it was not there. */
export function deleteElement(mapFd: number, key: Uint8Array): boolean {
  if (run('mapDelete', elementAttr(mapFd, key, null)) >= 0) return true;
  const error = lastErrno();
  if (error === errno.ENOENT) return false;
  throw new SyscallError('bpf(mapDelete)', error, mapFd);
}

/**
 * Deletes `count` elements whose keys stand packed in `keys` (BPF_MAP_DELETE_BATCH, Linux 5.6); those that are not there
 * any more are passed over. Returns how many were deleted.
 */
export function deleteElements(mapFd: number, keys: Buffer, keyBytes: number, count: number): number {
  const attr = Buffer.alloc(attrBytes);
  let deleted = 0;
  for (let at = 0; at < count; ) {
    attr.fill(0);
    setPointer(attr, 16, keys.subarray(at * keyBytes));
    attr.writeUInt32LE(count - at, 32);
    attr.writeUInt32LE(mapFd, 36);
    const error = run('mapDeleteBatch', attr) < 0 ? lastErrno() : 0;
    if (error !== 0 && error !== errno.ENOENT) throw new SyscallError('bpf(mapDeleteBatch)', error, mapFd);
    const done = attr.readUInt32LE(32);
    deleted += done;
    // The kernel stops at the first key that is not there.
    at += error === 0 ? count - at : done + 1;
  }
  return deleted;
}

/** Bytes of an element for batches. */
export interface ElementSize {
  readonly keyBytes: number;
  readonly valueBytes: number;
}

/** Called once per chunk: `count` keys and values stand packed in the Buffers, which are reused afterwards. */
export type ChunkReader = (keys: Buffer, values: Buffer, count: number) => void;

/** One chunk of a map: `count` keys and values, packed in Buffers that are used again for the next one. */
export interface MapChunk {
  readonly keys: Buffer;
  readonly values: Buffer;
  readonly count: number;
}

/** Reads a whole map in chunks (BPF_MAP_LOOKUP_BATCH, Linux 5.6). Elements that change meanwhile may be missed. */
export function readMap(mapFd: number, size: ElementSize, read: ChunkReader, chunk = 8192): void {
  for (const { keys, values, count } of readMapChunks(mapFd, size, chunk)) read(keys, values, count);
}

/** The same one chunk after the other, for who has something else to do in between. The map must stay open until the end. */
export function* readMapChunks(mapFd: number, size: ElementSize, chunk = 8192): Generator<MapChunk, void> {
  let room = chunk;
  let keys = Buffer.alloc(room * size.keyBytes);
  let values = Buffer.alloc(room * size.valueBytes);
  const position = Buffer.alloc(Math.max(8, size.keyBytes));
  const attr = Buffer.alloc(attrBytes);
  for (let isFirst = true; ; ) {
    attr.fill(0);
    setPointer(attr, 0, isFirst ? null : position);
    setPointer(attr, 8, position);
    setPointer(attr, 16, keys);
    setPointer(attr, 24, values);
    attr.writeUInt32LE(room, 32);
    attr.writeUInt32LE(mapFd, 36);
    const result = run('mapLookupBatch', attr);
    const error = result < 0 ? lastErrno() : 0;
    if (error === errno.ENOSPC) {
      // One bucket holds more than a chunk.
      room *= 2;
      keys = Buffer.alloc(room * size.keyBytes);
      values = Buffer.alloc(room * size.valueBytes);
      continue;
    }
    if (error !== 0 && error !== errno.ENOENT) throw new SyscallError('bpf(mapLookupBatch)', error, mapFd);
    yield { keys, values, count: attr.readUInt32LE(32) };
    if (error === errno.ENOENT) return;
    isFirst = false;
  }
}

/** An ARRAY map with one element of `valueBytes`: what an ARRAY_OF_MAPS takes in. */
export function createSingleElementMap(name: string, valueBytes: number): Fd {
  const attr = Buffer.alloc(attrBytes);
  attr.writeUInt32LE(2, 0); // BPF_MAP_TYPE_ARRAY
  attr.writeUInt32LE(4, 4);
  attr.writeUInt32LE(valueBytes, 8);
  attr.writeUInt32LE(1, 12);
  attr.write(name.slice(0, 15), 28, 'latin1');
  return new Fd(runOrThrow('mapCreate', attr, name));
}

/** Gives a map or program a name in a BPF file system; it lives on without descriptors. */
export function pinObject(fd: number, path: string): void {
  const name = Buffer.from(`${path}\0`);
  const own = Buffer.alloc(name.length);
  name.copy(own);
  const attr = Buffer.alloc(attrBytes);
  setPointer(attr, 0, own);
  attr.writeUInt32LE(fd, 8);
  runOrThrow('objPin', attr, path);
}

/** Opens a pinned map or program. */
export function openPinned(path: string): Fd {
  const own = Buffer.alloc(Buffer.byteLength(path) + 1);
  own.write(path);
  const attr = Buffer.alloc(attrBytes);
  setPointer(attr, 0, own);
  return new Fd(runOrThrow('objGet', attr, path));
}

/** Input of a test run. */
export interface TestRun {
  /** Packet with its Ethernet header; none for `syscall` programs. */
  readonly data?: Buffer;
  /** `struct __sk_buff` or the program's own context. */
  readonly context?: Buffer;
  /** Room for the packet afterwards. */
  readonly out?: Buffer;
  readonly repeat?: number;
}

/** Outcome of a test run; `outBytes` is the packet's length afterwards. */
export interface TestRunResult {
  readonly retval: number;
  readonly outBytes: number;
  /** Mean nanoseconds of one repetition. */
  readonly durationNs: number;
}

const testRunAttr = Buffer.alloc(attrBytes);

/** Runs a program on a packet or context without a network (BPF_PROG_TEST_RUN). */
export function testRun(programFd: number, input: TestRun): TestRunResult {
  const attr = testRunAttr;
  attr.fill(0);
  attr.writeUInt32LE(programFd, 0);
  attr.writeUInt32LE(input.data?.length ?? 0, 8);
  attr.writeUInt32LE(input.out?.length ?? 0, 12);
  setPointer(attr, 16, input.data ?? null);
  setPointer(attr, 24, input.out ?? null);
  attr.writeUInt32LE(input.repeat ?? 0, 32);
  attr.writeUInt32LE(input.context?.length ?? 0, 40);
  setPointer(attr, 48, input.context ?? null);
  runOrThrow('progTestRun', attr, `program fd ${programFd}`);
  return {
    retval: attr.readInt32LE(4),
    outBytes: attr.readUInt32LE(12),
    durationNs: attr.readUInt32LE(36),
  };
}

/** CPUs the kernel may ever have: how many values an element of a per-CPU map has. */
export function possibleCpus(): number {
  const path = '/sys/devices/system/cpu/possible';
  if (!existsSync(path)) throw new RestitchError('unsupported_host', `${path} is missing`);
  const ranges = readFileSync(path, 'utf8').trim().split(',');
  const last = ranges.at(-1)?.split('-').at(-1) ?? '0';
  return Number(last) + 1;
}
