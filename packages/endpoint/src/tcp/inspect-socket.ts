/** Whether a socket can be moved, found out before anything is touched. */
import { RestitchError } from '@restitch/core';
import {
  getIntOption,
  getTcpInfo,
  receiveMemoryBytes,
  so,
  solSocket,
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
  | 'closed';

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
   * found out that they are gone, which costs it a timeout. Worth a wait of up to two round trips.
   */
  readonly isOutOfOrderLikely: boolean;
}

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
};

/** Throws `socket_unsupported` with `details.reason` and `details.remedy`, or says how the socket stands. */
export function inspectSocket(fd: number): SocketInspection {
  const protocol = getIntOption(fd, solSocket, so.protocol);
  if (protocol !== 6) refuse(fd, protocol === 262 ? 'mptcp' : 'ulp');
  const info = getTcpInfo(fd);
  refuseState(fd, info.state);
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

function refuseState(fd: number, state: number): void {
  if (state === tcpState.listen) refuse(fd, 'listen');
  if (state === tcpState.synSent || state === tcpState.synRecv || state === 12) refuse(fd, 'syn-state');
  if (state === tcpState.timeWait) refuse(fd, 'time-wait');
  if (state === tcpState.close) refuse(fd, 'closed');
}

function refuse(fd: number, reason: UnsupportedReason): never {
  throw new RestitchError('socket_unsupported', `fd ${fd} cannot be moved: ${reason}; ${remedies[reason]}`, {
    details: { reason, remedy: remedies[reason], fd },
  });
}
