/**
 * A block on one socket that needs no capability and nobody's help: a classic BPF filter that lets nothing through.
 * The kernel drops the segment before TCP sees it, so there is no ACK, no RST and nothing queued.
 */
import { addressOf, errno, SyscallError } from './libc.js';
import { getBufferOption, setBufferOption } from './socket.js';
import { so, solSocket } from './option-names.js';

/**
 * `struct sock_fprog {unsigned short len; struct sock_filter *filter}` and, behind it, the one instruction it points to
 * (BPF_RET | BPF_K, 0; linux/filter.h). One piece of memory, so that the collector cannot take the instruction alone.
 */
const dropMemory = Buffer.alloc(24);
dropMemory.writeUInt16LE(1, 0);
dropMemory.writeBigUInt64LE(addressOf(dropMemory) + 16n, 8);
dropMemory.writeUInt16LE(0x06, 16);
const dropProgram = dropMemory.subarray(0, 16);

const noValue = Buffer.alloc(4);
const meminfoScratch = Buffer.alloc(36);

/** From now on every packet to this socket is dropped unseen. Replaces another filter. */
export function attachDropFilter(fd: number): void {
  setBufferOption(fd, solSocket, so.attachFilter, dropProgram);
}

/** Takes the filter off; nothing happens if there is none. */
export function detachFilter(fd: number): void {
  try {
    setBufferOption(fd, solSocket, so.detachFilter, noValue);
  } catch (error) {
    if (!(error instanceof SyscallError && error.errno === errno.ENOENT)) throw error;
  }
}

/** Memory of the receive side in bytes, all queues (SO_MEMINFO, SK_MEMINFO_RMEM_ALLOC of linux/sock_diag.h). */
export function receiveMemoryBytes(fd: number): number {
  getBufferOption(fd, solSocket, so.meminfo, meminfoScratch);
  return meminfoScratch.readUInt32LE(0);
}
