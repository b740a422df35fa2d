/** Whether a socket can be moved, found out before anything is touched. */
import { RestitchError } from '@restitch/core';
import { SyscallError, errno, findTcpSocket } from '@restitch/sys';
import {
  getBufferOption,
  getIntOption,
  getLocalAddress,
  getPeerAddress,
  getTcpInfo,
  pollEvent,
  pollFd,
  receiveMemoryBytes,
  so,
  solSocket,
  solTcp,
  tcp,
  tcpState,
  unacknowledgedBytes,
  unreadBytes,
  unsentBytes,
} from '@restitch/sys/internal';

/** Why a socket is refused. */
export type UnsupportedReason =
  | 'urgent-data'
  | 'md5'
  | 'ao'
  | 'mptcp'
  | 'ulp'
  | 'tls'
  | 'syn-state'
  | 'listen'
  | 'time-wait'
  | 'closed'
  | 'not-tcp';

/** A movable socket as it stands. */
export interface SocketInspection {
  readonly state: number;
  readonly rttUs: number;
  /** Received and not read. */
  readonly unreadBytes: number;
  /** Sent and not acknowledged. */
  readonly unacknowledgedBytes: number;
  readonly unsentBytes: number;
  /**
   * Segments wait behind a gap. They cannot be read and do not travel: the client resends them, but only after it has
   * found out that they are gone, which costs it a timeout. Worth a wait.
   */
  readonly isOutOfOrderLikely: boolean;
}

const ipprotoTcp = 6;
const ipprotoMptcp = 262;
/** A request the kernel keeps without a full socket (TCP_NEW_SYN_RECV). */
const newSynRecv = 12;
const ulpScratch = Buffer.alloc(16);
/** struct tcp_ao_info_opt (linux/tcp.h) */
const aoScratch = Buffer.alloc(56);

const remedies: Record<UnsupportedReason, string> = {
  'urgent-data': 'let the application read the urgent byte first',
  md5: 'use a listener without TCP-MD5 signatures',
  ao: 'use a listener without TCP-AO',
  mptcp: 'listen with IPPROTO_TCP',
  ulp: 'detach the upper-layer protocol',
  tls: 'turn kernel TLS off',
  'syn-state': 'try again when the handshake is over',
  listen: 'move its sessions, not the listener',
  'time-wait': 'nothing to do: the session has ended',
  closed: 'nothing to do: the session has ended',
  'not-tcp': 'only TCP connections can be moved',
};

/** Throws `socket_unsupported` with `details.reason` and `details.remedy`, or says how the socket stands. */
export function inspectSocket(fd: number): SocketInspection {
  const protocol = getIntOption(fd, solSocket, so.protocol);
  if (protocol !== ipprotoTcp) refuse(fd, protocol === ipprotoMptcp ? 'mptcp' : 'not-tcp');
  const info = getTcpInfo(fd);
  refuseState(fd, info.state);
  refuseExtensions(fd);
  if ((pollFd(fd, pollEvent.urgent) & pollEvent.urgent) !== 0) refuse(fd, 'urgent-data');
  const unread = unreadBytes(fd);
  return {
    state: info.state,
    rttUs: info.rttUs,
    unreadBytes: unread,
    unacknowledgedBytes: unacknowledgedBytes(fd),
    unsentBytes: unsentBytes(fd),
    isOutOfOrderLikely: unread === 0 && receiveMemoryBytes(fd) > 0,
  };
}

/** `isOutOfOrderLikely` alone, cheap enough to be asked right before a freeze. */
export function isOutOfOrderLikely(fd: number): boolean {
  return receiveMemoryBytes(fd) > 0 && unreadBytes(fd) === 0;
}

/** What rides on the segments or over the socket and has no place in TCP_REPAIR. */
function refuseExtensions(fd: number): void {
  const ulp = optionText(fd, tcp.ulp);
  if (ulp !== '') refuse(fd, ulp === 'tls' ? 'tls' : 'ulp');
  if (optionBytes(fd, tcp.aoInfo, aoScratch) > 0) refuse(fd, 'ao');
  if (hasMd5(fd)) refuse(fd, 'md5');
}

/** No socket option tells of TCP-MD5; the kernel's list of sockets does, to callers with CAP_NET_ADMIN. */
function hasMd5(fd: number): boolean {
  try {
    return findTcpSocket(getLocalAddress(fd), getPeerAddress(fd))?.hasMd5 === true;
  } catch (error) {
    // A process that may not use netlink, or a kernel without the list: `restitch check` says so, moves go on.
    if (error instanceof SyscallError) return false;
    throw error;
  }
}

/** Options this kernel does not know at all: asking each time would cost an error with its stack. */
const unknownOptions = new Set<number>();

/** Bytes of an option, 0 if the kernel or the socket does not have it. */
function optionBytes(fd: number, option: number, into: Buffer): number {
  if (unknownOptions.has(option)) return 0;
  try {
    return getBufferOption(fd, solTcp, option, into);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (error.errno === errno.ENOPROTOOPT) unknownOptions.add(option);
    return 0;
  }
}

function optionText(fd: number, option: number): string {
  const length = optionBytes(fd, option, ulpScratch);
  return ulpScratch.toString('latin1', 0, length).replace(/\0.*$/, '');
}

function refuseState(fd: number, state: number): void {
  if (state === tcpState.listen) refuse(fd, 'listen');
  if (state === tcpState.synSent || state === tcpState.synRecv || state === newSynRecv)
    refuse(fd, 'syn-state');
  if (state === tcpState.timeWait) refuse(fd, 'time-wait');
  if (state === tcpState.close) refuse(fd, 'closed');
}

function refuse(fd: number, reason: UnsupportedReason): never {
  throw new RestitchError('socket_unsupported', `fd ${fd} cannot be moved: ${reason}; ${remedies[reason]}`, {
    details: { reason, remedy: remedies[reason], fd },
  });
}
