/**
 * The one seam to native code: functions of libc (and of libbpf, through `openLibrary`) called on Buffers and integers.
 *
 * koffi structs are never used: one costs 2 µs a call, a Buffer with an offset table 0.3 µs. errno is read with the
 * call, because the next native call of anyone may overwrite it; asynchronous koffi calls lose it and are not offered.
 */
import { constants } from 'node:os';
import koffi from 'koffi';
import { RestitchError } from '@restitch/core';

/** What crosses the seam. Pointers go in as Buffers (kept reachable by the caller) and come back as bigint or null. @public */
export type NativeArgument = number | bigint | string | NodeJS.ArrayBufferView | null;

/** A native function that returns an integer (`int`, `ssize_t`, `long`). */
export type NativeFunction = (...args: readonly NativeArgument[]) => number;

/** A native function that returns a pointer. */
export type NativePointerFunction = (...args: readonly NativeArgument[]) => bigint | null;

/** A shared library opened by its soname. */
export interface NativeLibrary {
  /** Declares a C function whose result is an integer; koffi's C-like prototype, without structs. */
  declare(prototype: string): NativeFunction;
  /** Declares a C function whose result is a pointer. */
  declarePointer(prototype: string): NativePointerFunction;
}

const errnoNames = new Map(
  Object.entries(constants.errno).map(([name, value]) => [value as number, name] as const),
);

/** Linux error numbers that code decides by (asm-generic/errno.h). */
export const errno = constants.errno;

/** Name of an error number, `errno 123` if it has none. */
export function errnoName(value: number): string {
  return errnoNames.get(value) ?? `errno ${value}`;
}

/** A system call that failed: which, why and on what descriptor. */
export class SyscallError extends RestitchError {
  override readonly name = 'SyscallError';
  readonly syscall: string;
  readonly errno: number;
  /** e.g. `EADDRINUSE`. */
  readonly errnoName: string;
  /** −1 if the call has none. */
  readonly fd: number;

  constructor(syscall: string, errorNumber: number, fd = -1, what = '') {
    const name = errnoName(errorNumber);
    super('syscall_failed', `${syscall}${what === '' ? '' : ` ${what}`}: ${name}`, {
      details: { syscall, errno: errorNumber, errnoName: name, fd },
    });
    this.syscall = syscall;
    this.errno = errorNumber;
    this.errnoName = name;
    this.fd = fd;
  }
}

/** Opens a shared library. Throws `unsupported_host` if it is not installed. */
export function openLibrary(soname: string): NativeLibrary {
  try {
    const library = koffi.load(soname);
    return {
      declare: (prototype) => library.func(prototype) as unknown as NativeFunction,
      declarePointer: (prototype) => library.func(prototype) as unknown as NativePointerFunction,
    };
  } catch (cause) {
    throw new RestitchError('unsupported_host', `cannot load ${soname}`, { cause, details: { soname } });
  }
}

/** glibc (or whatever answers to its name). */
export const libc: NativeLibrary = openLibrary('libc.so.6');

/** errno of the native call just made; call it before any other. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Passes a result on, or throws SyscallError for a negative one. Reads errno first, so call it directly on the result. */
export function check(result: number, syscall: string, fd = -1, what = ''): number {
  if (result < 0) throw new SyscallError(syscall, koffi.errno(), fd, what);
  return result;
}

/**
 * Address of a Buffer's memory, for structures that hold pointers (`union bpf_attr`, `struct msghdr`).
 * The Buffer must stay reachable until the call is over and be made by `Buffer.alloc`, never a slice of the pool.
 */
export function addressOf(memory: Uint8Array): bigint {
  return BigInt(koffi.address(memory));
}

/** NUL-terminated text at a native address. */
export function readCString(address: bigint): string {
  return koffi.decode(address, 'char', -1) as string;
}
