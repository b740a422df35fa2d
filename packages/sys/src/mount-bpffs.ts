/** The file system that keeps BPF objects alive when their maker has ended. */
import { check, libc } from './libc.js';

const statfsFn = libc.declare('int statfs(const char *path, void *info)');
const mountFn = libc.declare(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, void *data)',
);
/** linux/magic.h */
const bpfFsMagic = 0xcafe4a11;

/** True if BPF objects can be pinned below `path`. */
export function isBpffs(path: string): boolean {
  const info = Buffer.alloc(256);
  return statfsFn(path, info) === 0 && info.readUInt32LE(0) === bpfFsMagic;
}

/** Mounts bpffs at an existing directory unless it is there. Needs CAP_SYS_ADMIN. */
export function ensureBpffs(path: string): void {
  if (isBpffs(path)) return;
  check(mountFn('bpf', path, 'bpf', 0, null), 'mount', -1, `bpf at ${path}`);
}
