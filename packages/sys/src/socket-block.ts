/**
 * One socket shut off from the network in both directions, without help from outside.
 *
 * Inwards, a classic BPF filter that lets nothing through: the segment is dropped before TCP sees it, so there is no
 * ACK, no RST and nothing queued. Outwards, an IPsec policy of this socket alone that says "block" (ipsec policies with
 * this action drop, they need no IPsec): TCP's timers run on in TCP_REPAIR, and without it a frozen socket resends
 * data, sends its delayed ACK and probes.
 */
import { dropProgramFd } from './drop-program.js';
import { SyscallError, addressOf, errno } from './libc.js';
import { ip, ipv6, so, solIp, solIpv6, solSocket } from './option-names.js';
import { afInet, afInet6 } from './socket-address.js';
import { clearOption, getBufferOption, openSocket, setBufferOption, setIntOption } from './socket.js';
import { closeFd } from './fd.js';

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

/**
 * From now on every packet to this socket is dropped unseen. Replaces another filter. Needs no capability; with CAP_BPF
 * it is ten times cheaper, because a classic filter is compiled anew for each socket (7 µs) and a loaded program is not.
 */
export function attachDropFilter(fd: number): void {
  const programFd = dropProgramFd();
  if (programFd >= 0) setIntOption(fd, solSocket, so.attachBpf, programFd);
  else setBufferOption(fd, solSocket, so.attachFilter, dropProgram);
}

/** Takes the filter off; nothing happens if there is none. */
export function detachFilter(fd: number): void {
  try {
    setBufferOption(fd, solSocket, so.detachFilter, noValue);
  } catch (error) {
    if (!(error instanceof SyscallError && error.errno === errno.ENOENT)) throw error;
  }
}

/** `struct xfrm_userpolicy_info` (linux/xfrm.h): selector 56 bytes, limits 64, current 32, then 12 and padding. */
function blockPolicy(family: number): Buffer {
  const policy = Buffer.alloc(168);
  policy.writeUInt16LE(family, 40);
  // The four byte and packet limits: XFRM_INF.
  policy.fill(0xff, 56, 88);
  policy.writeUInt8(xfrmPolicyOut, 160);
  policy.writeUInt8(xfrmPolicyBlock, 161);
  return policy;
}

const xfrmPolicyOut = 1;
const xfrmPolicyBlock = 1;
const blockPolicy4 = blockPolicy(afInet);
const blockPolicy6 = blockPolicy(afInet6);
let isXfrmAsked = false;

/**
 * From now on nothing this socket wants to send leaves. `family` is the socket's, `packetFamily` that of its packets
 * (they differ for IPv4 on an AF_INET6 socket). Returns false if the kernel lacks XFRM_USER. Needs CAP_NET_ADMIN.
 */
export function blockOutput(fd: number, family: number, packetFamily = family): boolean {
  try {
    setPolicy(fd, family, packetFamily === afInet ? blockPolicy4 : blockPolicy6);
    return true;
  } catch (error) {
    if (!(error instanceof SyscallError) || error.errno === errno.EPERM) throw error;
    if (isXfrmAsked) return false;
  }
  isXfrmAsked = true;
  loadXfrmUser();
  return blockOutput(fd, family, packetFamily);
}

/** Lets the socket send again; nothing happens if it was not blocked. Removes other policies of the socket, too. */
export function unblockOutput(fd: number, family: number): void {
  if (family === afInet) clearOption(fd, solIp, ip.xfrmPolicy);
  else clearOption(fd, solIpv6, ipv6.xfrmPolicy);
}

function setPolicy(fd: number, family: number, policy: Buffer): void {
  if (family === afInet) setBufferOption(fd, solIp, ip.xfrmPolicy, policy);
  else setBufferOption(fd, solIpv6, ipv6.xfrmPolicy, policy);
}

/** Opening its netlink family is what loads the module where it is one. */
function loadXfrmUser(): void {
  const afNetlink = 16;
  const sockRaw = 3;
  const netlinkXfrm = 6;
  try {
    closeFd(openSocket(afNetlink, sockRaw, netlinkXfrm));
  } catch {
    // The kernel has none; the caller's second try says so.
  }
}

/** Memory of the receive side in bytes, all queues (SO_MEMINFO, SK_MEMINFO_RMEM_ALLOC of linux/sock_diag.h). */
export function receiveMemoryBytes(fd: number): number {
  getBufferOption(fd, solSocket, so.meminfo, meminfoScratch);
  return meminfoScratch.readUInt32LE(0);
}
