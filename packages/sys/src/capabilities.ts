/** What the calling thread may do, and giving it up (capabilities(7), linux/capability.h). */
import { check, libc } from './libc.js';

const syscallFn = libc.declare('long syscall(long number, void *first, void *second)');
const prctlFn = libc.declare('int prctl(int option, long second, long third, long fourth, long fifth)');

/** System call numbers differ between machines; x64 and arm64 are those Node runs on here. */
const numbers: Readonly<Record<string, { readonly capget: number; readonly capset: number }>> = {
  x64: { capget: 125, capset: 126 },
  arm64: { capget: 90, capset: 91 },
};

/** The capabilities restitch knows by name, with their bit. */
export const capabilityBits = {
  CAP_NET_BIND_SERVICE: 10,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;

/** One of them. */
export type CapabilityName = keyof typeof capabilityBits;

const capabilityVersion3 = 0x20080522;
const prSetNoNewPrivs = 38;

/** The effective capabilities of the calling thread. */
export function effectiveCapabilities(): ReadonlySet<CapabilityName> {
  const data = Buffer.alloc(24);
  check(syscallFn(callNumbers().capget, header(), data), 'capget');
  const mask = (BigInt(data.readUInt32LE(12)) << 32n) | BigInt(data.readUInt32LE(0));
  const names = Object.keys(capabilityBits) as CapabilityName[];
  return new Set(names.filter((name) => ((mask >> BigInt(capabilityBits[name])) & 1n) === 1n));
}

/**
 * Gives up every capability but these, for the calling thread and the threads and programs it starts from now on, and
 * for good (no_new_privs). Call it first thing: threads that already run keep what they have.
 */
export function keepCapabilities(keep: readonly CapabilityName[]): void {
  const mask = keep.reduce((sum, name) => sum | (1n << BigInt(capabilityBits[name])), 0n);
  const data = Buffer.alloc(24);
  // struct __user_cap_data_struct {effective, permitted, inheritable}, low words first, then high words.
  for (const [offset, word] of [
    [0, mask & 0xffffffffn],
    [12, mask >> 32n],
  ] as const) {
    for (let set = 0; set < 3; set++) data.writeUInt32LE(Number(word), offset + 4 * set);
  }
  check(prctlFn(prSetNoNewPrivs, 1, 0, 0, 0), 'prctl(PR_SET_NO_NEW_PRIVS)');
  check(syscallFn(callNumbers().capset, header(), data), 'capset');
}

function header(): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(capabilityVersion3);
  return bytes;
}

function callNumbers(): { readonly capget: number; readonly capset: number } {
  return numbers[process.arch] ?? { capget: -1, capset: -1 };
}
