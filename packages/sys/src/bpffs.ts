/** The file system that keeps BPF objects alive when their maker has ended. */
import { libc } from './libc.js';

const statfsFn = libc.declare('int statfs(const char *path, void *info)');
/** linux/magic.h */
const bpfFsMagic = 0xcafe4a11;

/** True if BPF objects can be pinned below `path`. */
export function isBpffs(path: string): boolean {
  const info = Buffer.alloc(256);
  return statfsFn(path, info) === 0 && info.readUInt32LE(0) === bpfFsMagic;
}
