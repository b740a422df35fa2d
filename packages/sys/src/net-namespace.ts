/**
 * Network namespaces of the calling thread. A socket stays in the namespace it was made in, so one process may hold
 * sockets of several; nothing asynchronous may run inside.
 */
import { closeSync, openSync } from 'node:fs';
import { check, libc } from './libc.js';

const setnsFn = libc.declare('int setns(int fd, int type)');
const ifNameToIndexFn = libc.declare('unsigned int if_nametoindex(const char *name)');
const cloneNewnet = 0x40000000;

/** Moves the calling thread into the network namespace that `fd` names. Needs CAP_SYS_ADMIN. */
export function enterNetNamespace(fd: number): void {
  check(setnsFn(fd, cloneNewnet), 'setns', fd);
}

/** Runs `fn`, which must be synchronous, inside the namespace at `path` (e.g. `/run/netns/blue`), and comes back. */
export function inNetNamespace<T>(path: string, fn: () => T): T {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const there = openSync(path, 'r');
    try {
      enterNetNamespace(there);
    } finally {
      closeSync(there);
    }
    try {
      return fn();
    } finally {
      enterNetNamespace(home);
    }
  } finally {
    closeSync(home);
  }
}

/** Index of an interface in the thread's namespace, undefined if there is none of this name. */
export function ifNameToIndex(name: string): number | undefined {
  const index = ifNameToIndexFn(name);
  return index === 0 ? undefined : index;
}
