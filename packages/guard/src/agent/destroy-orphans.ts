/**
 * Sockets whose process has died linger in FIN_WAIT1, resending what nobody stands for, and would block a return of
 * their sessions to this host; SOCK_DESTROY ends them.
 */
import { type Flow, formatFlow } from '@restitch/core';
import { destroyTcpSocket, listTcpSockets } from '@restitch/sys';
import { tcpState } from '@restitch/sys/internal';

/** Where a socket can be that no process holds; one in an accept queue is held by none either, but established. */
const closingStates = [
  tcpState.finWait1,
  tcpState.finWait2,
  tcpState.closeWait,
  tcpState.lastAck,
  tcpState.closing,
];

/** Destroys those of these flows' sockets in the current network namespace that no process holds. Returns how many. */
export function destroyOrphans(flows: readonly Flow[]): number {
  if (flows.length === 0) return 0;
  const wanted = new Set(flows.map((flow) => formatFlow(flow)));
  let count = 0;
  for (const { inode, local, remote } of listTcpSockets(closingStates)) {
    if (inode !== 0 || !wanted.has(formatFlow({ client: remote, vip: local }))) continue;
    if (destroyTcpSocket(local, remote)) count++;
  }
  return count;
}
