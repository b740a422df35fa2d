/** Public door of @restitch/sys. */
export {
  SyscallError,
  addressOf,
  check,
  errno,
  errnoName,
  lastErrno,
  libc,
  openLibrary,
  readCString,
} from './libc.js';
export type { NativeArgument, NativeFunction, NativeLibrary, NativePointerFunction } from './libc.js';
export { Fd, closeFd, duplicateFd } from './fd.js';
export { enterNetNamespace, ifNameToIndex, inNetNamespace } from './net-namespace.js';
export { threadCpuNs } from './thread-clock.js';
