/** Ownership of file descriptors: whoever holds an `Fd` closes it, unless it was given away by `disown`. */
import { RestitchError } from '@restitch/core';
import { check, libc } from './libc.js';

const closeFn = libc.declare('int close(int fd)');
const fcntlFn = libc.declare('int fcntl(int fd, int command, long argument)');

const fDupfdCloexec = 1030;

/** An open descriptor with one owner. */
export class Fd {
  #value: number;

  constructor(value: number) {
    this.#value = value;
  }

  /** The number. Throws `closed` after close or disown. */
  get value(): number {
    if (this.#value < 0)
      throw new RestitchError('closed', 'descriptor used after it was closed or given away');
    return this.#value;
  }

  get isOpen(): boolean {
    return this.#value >= 0;
  }

  /** Gives the number away; this object no longer closes it. */
  disown(): number {
    const value = this.value;
    this.#value = -1;
    return value;
  }

  /** Closes the descriptor; a second call does nothing. */
  close(): void {
    const value = this.#value;
    this.#value = -1;
    if (value >= 0) closeFn(value);
  }
}

/** close(2) on a bare number. Throws SyscallError (EBADF shows a double close). */
export function closeFd(fd: number): void {
  check(closeFn(fd), 'close', fd);
}

/** Another descriptor of the same open file, close-on-exec (F_DUPFD_CLOEXEC). */
export function duplicateFd(fd: number): number {
  return check(fcntlFn(fd, fDupfdCloexec, 3), 'fcntl(F_DUPFD_CLOEXEC)', fd);
}
