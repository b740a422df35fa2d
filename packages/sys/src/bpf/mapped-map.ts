/** An ARRAY map made with BPF_F_MMAPABLE, mapped into this process: read and written without system calls. */
import koffi from 'koffi';
import { RestitchError } from '@restitch/core';
import { SyscallError, lastErrno, libc } from '../libc.js';

const mmapFn = libc.declarePointer(
  'intptr_t mmap(intptr_t address, size_t bytes, int protection, int flags, int fd, long offset)',
);
const munmapFn = libc.declare('int munmap(intptr_t address, size_t bytes)');

const protReadWrite = 3;
const mapShared = 1;
const pageBytes = 4096;

/** The mapped memory; unusable after `close`. */
export interface MappedMap {
  readonly memory: Buffer;
  close(): void;
}

/** Maps the values of an array map (`bytes` in all). Throws SyscallError. */
export function openMappedMap(mapFd: number, bytes: number): MappedMap {
  const length = Math.ceil(bytes / pageBytes) * pageBytes;
  const address = BigInt(mmapFn(0, length, protReadWrite, mapShared, mapFd, 0) ?? 0);
  if (address === -1n || address === 0n) throw new SyscallError('mmap', lastErrno(), mapFd);
  let current: Buffer | undefined = Buffer.from(koffi.view(address, bytes));
  return {
    get memory() {
      if (current === undefined) throw new RestitchError('closed', 'mapped map used after close');
      return current;
    },
    close() {
      if (current === undefined) return;
      current = undefined;
      munmapFn(address, length);
    },
  };
}
