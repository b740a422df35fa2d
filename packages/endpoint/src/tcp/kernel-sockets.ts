/** The kernel's own list of connections, for what no session of this process stands for. */
import { type Flow, formatFlow, formatSocketAddress, type SocketAddress } from '@restitch/core';
import { findTcpSocket, listTcpSockets } from '@restitch/sys';
import { isFinWaiting, tcpState } from '@restitch/sys/internal';

/** What sockets owe their clients. */
export interface Residue {
  /** With bytes or a FIN that is not acknowledged. */
  readonly sockets: number;
  readonly bytes: number;
}

const connected = [
  tcpState.established,
  tcpState.synRecv,
  tcpState.finWait1,
  tcpState.finWait2,
  tcpState.closeWait,
  tcpState.lastAck,
  tcpState.closing,
];
/** Beyond so many a dump of all is cheaper than a question for each. */
const askEachUpTo = 32;

/** Those for which the kernel answers: also one that is over, and whose client repeats its FIN because our ACK was lost. */
const answering = [...connected, tcpState.timeWait];

/** Those of the flows for which this network namespace's kernel answers, as `formatFlow` writes them. */
export function findInKernel(flows: readonly Flow[]): ReadonlySet<string> {
  if (flows.length === 0) return new Set();
  const states: ReadonlySet<number> = new Set(answering);
  if (flows.length <= askEachUpTo) {
    const found = flows.filter(({ vip, client }) => states.has(findTcpSocket(vip, client)?.state ?? 0));
    return new Set(found.map(formatFlow));
  }
  return new Set(
    listTcpSockets(answering).map(({ local, remote }) => formatFlow({ vip: local, client: remote })),
  );
}

/** What all sockets of these local addresses in this network namespace owe, whoever made them. */
export function readResidue(vips: readonly SocketAddress[]): Residue {
  const ours = new Set(vips.map(formatSocketAddress));
  let sockets = 0;
  let bytes = 0;
  for (const { state, local, sendQueueBytes } of listTcpSockets(connected)) {
    if (!ours.has(formatSocketAddress(local))) continue;
    if (sendQueueBytes === 0 && !isFinWaiting(state)) continue;
    sockets++;
    bytes += sendQueueBytes;
  }
  return { sockets, bytes };
}
