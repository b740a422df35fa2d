/** fcntl(2) F_SETOWN: who gets SIGURG when an urgent byte comes in on a socket. Nothing else tells of one that comes alone. */
import { check, libc } from './libc.js';

const fcntlFn = libc.declare('int fcntl(int fd, int command, int argument)');
const setOwn = 8;

/** This process gets SIGURG for the socket. The descriptor's duplicates share that. */
export function signalUrgentBytes(fd: number): void {
  check(fcntlFn(fd, setOwn, process.pid), 'fcntl(F_SETOWN)', fd);
}
