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
