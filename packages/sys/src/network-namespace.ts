/** Moving this thread between network namespaces; descriptors stay in the namespace they were opened in. */
import { constants, openSync } from 'node:fs';
import { Fd } from './fd.js';
import { check, libc } from './libc.js';

const setnsFn = libc.declare('int setns(int fd, int type)');
const cloneNewnet = 0x40000000;

/**
 * Puts the calling thread into a network namespace (`/run/netns/NAME`); sockets and interfaces are then that one's.
 * Node's own threads stay where they are: name resolution, for one, happens in the old namespace. Needs CAP_SYS_ADMIN.
 */
export function enterNetworkNamespace(path: string): void {
  const fd = new Fd(openSync(path, constants.O_RDONLY));
  try {
    check(setnsFn(fd.value, cloneNewnet), 'setns', fd.value, path);
  } finally {
    fd.close();
  }
}

/**
 * Runs `fn` inside the namespace at `path` and comes back. It must be synchronous: whatever it leaves to a later turn
 * of the event loop happens at home.
 */
export function inNetworkNamespace<T>(path: string, fn: () => T): T {
  const home = new Fd(openSync('/proc/thread-self/ns/net', constants.O_RDONLY));
  try {
    enterNetworkNamespace(path);
    try {
      return fn();
    } finally {
      check(setnsFn(home.value, cloneNewnet), 'setns', home.value, 'back');
    }
  } finally {
    home.close();
  }
}
