/** A BPF program that keeps no packet, loaded once a process and attached to many sockets. */
import { addressOf, libc } from './libc.js';

const syscallFn = libc.declare('long syscall(long number, long command, void *attr, long size)');

/** asm/unistd.h, by architecture. */
const bpfNumber = process.arch === 'arm64' ? 280 : 321;
const progLoad = 5;
const socketFilterType = 1;
const attrBytes = 128;

let programFd: number | undefined;

/**
 * Its descriptor, which stays open for the life of the process; −1 if this process may not load programs (it needs
 * CAP_BPF, unless kernel.unprivileged_bpf_disabled is 0).
 */
export function dropProgramFd(): number {
  programFd ??= load();
  return programFd;
}

function load(): number {
  // The attribute, and behind it what it points to: one piece of memory, so that nothing is collected too early.
  const attr = Buffer.alloc(attrBytes + 16 + 4);
  attr.writeUInt32LE(socketFilterType, 0);
  attr.writeUInt32LE(2, 4);
  attr.writeBigUInt64LE(addressOf(attr) + BigInt(attrBytes), 8);
  attr.writeBigUInt64LE(addressOf(attr) + BigInt(attrBytes + 16), 16);
  // r0 = 0; exit (linux/bpf.h: BPF_ALU64 | BPF_MOV | BPF_K, BPF_JMP | BPF_EXIT).
  attr.write('b7000000000000009500000000000000', attrBytes, 'hex');
  attr.write('GPL\0', attrBytes + 16, 'latin1');
  return syscallFn(bpfNumber, progLoad, attr, attrBytes);
}
