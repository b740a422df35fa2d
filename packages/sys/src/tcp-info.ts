/**
 * `struct tcp_info` (linux/tcp.h), read by offset. The struct only ever grows at its end, so what the running kernel
 * does not have reads as undefined.
 */
import { getBufferOption } from './socket.js';
import { solTcp, tcp } from './option-names.js';

/** Bytes asked for: everything up to 6.18. A newer kernel gives no more than asked. */
export const tcpInfoBytes = 320;

/** Offsets of the fields in use. */
const tcpInfoOffsets = {
  state: 0,
  retransmits: 2,
  probes: 3,
  backoff: 4,
  options: 5,
  wscale: 6,
  rtoUs: 8,
  sndMss: 16,
  unacked: 24,
  lastDataSentMs: 44,
  lastDataRecvMs: 52,
  lastAckRecvMs: 56,
  rttUs: 68,
  sndCwnd: 80,
  totalRetrans: 100,
  bytesAcked: 120,
  bytesReceived: 128,
  segsOut: 136,
  segsIn: 140,
  notsentBytes: 144,
  minRttUs: 148,
  dataSegsIn: 152,
  rcvOooPack: 224,
  sndWnd: 228,
  rcvWnd: 232,
  totalRto: 240,
} as const;

/** Bits of `options`. */
const tcpInfoOption = { timestamps: 1, sack: 2, wscale: 4 } as const;

/** States of include/net/tcp_states.h. */
export const tcpState = {
  established: 1,
  synSent: 2,
  synRecv: 3,
  finWait1: 4,
  finWait2: 5,
  timeWait: 6,
  close: 7,
  closeWait: 8,
  lastAck: 9,
  listen: 10,
  closing: 11,
} as const;

const peerFinStates: ReadonlySet<number> = new Set([tcpState.closeWait, tcpState.lastAck, tcpState.closing]);
const finWaitingStates: ReadonlySet<number> = new Set([
  tcpState.finWait1,
  tcpState.lastAck,
  tcpState.closing,
]);

/** States after our side's FIN was asked for, of a socket that still has its queues. */
export const ownFinStates: readonly number[] = [...finWaitingStates, tcpState.finWait2];

/** The peer's FIN is in, and counted in `bytesReceived`. */
export function hasPeerFin(state: number): boolean {
  return peerFinStates.has(state);
}

/** Our FIN was asked for and is not acknowledged: SIOCOUTQ counts it as a byte. */
export function isFinWaiting(state: number): boolean {
  return finWaitingStates.has(state);
}

/** Our FIN was asked for: the send queue's end counts it, acknowledged or not. */
export function hasOwnFin(state: number): boolean {
  return ownFinStates.includes(state);
}

/** What the kernel says of one connection. Times in the unit of their name; counts in segments unless named Bytes. */
export interface TcpInfo {
  readonly state: number;
  /** Retransmission timeouts in a row for the oldest segment. */
  readonly retransmits: number;
  /** Unanswered zero-window or keepalive probes. */
  readonly probes: number;
  readonly backoff: number;
  readonly hasTimestamps: boolean;
  readonly hasSack: boolean;
  readonly hasWscale: boolean;
  readonly sndWscale: number;
  readonly rcvWscale: number;
  readonly rtoUs: number;
  readonly sndMss: number;
  readonly unackedSegments: number;
  readonly lastDataSentMs: number;
  readonly lastDataRecvMs: number;
  readonly lastAckRecvMs: number;
  readonly rttUs: number;
  readonly sndCwnd: number;
  readonly totalRetrans: number;
  /** In order, over the connection's life on this socket. */
  readonly bytesReceived: number;
  readonly segsIn: number;
  readonly segsOut: number;
  /** Out-of-order segments ever received (Linux 5.4). */
  readonly outOfOrderSegments: number | undefined;
  /** Window the client offers, bytes (Linux 5.4). */
  readonly sndWndBytes: number | undefined;
  /** Retransmission timeouts over the connection's life (Linux 6.7). */
  readonly totalRtos: number | undefined;
}

/** Decodes the first `length` bytes of `raw` as struct tcp_info. */
export function parseTcpInfo(raw: Buffer, length = raw.length): TcpInfo {
  const at = tcpInfoOffsets;
  const options = raw.readUInt8(at.options);
  const wscale = raw.readUInt8(at.wscale);
  const u32IfThere = (offset: number): number | undefined =>
    length >= offset + 4 ? raw.readUInt32LE(offset) : undefined;
  return {
    state: raw.readUInt8(at.state),
    retransmits: raw.readUInt8(at.retransmits),
    probes: raw.readUInt8(at.probes),
    backoff: raw.readUInt8(at.backoff),
    hasTimestamps: (options & tcpInfoOption.timestamps) !== 0,
    hasSack: (options & tcpInfoOption.sack) !== 0,
    hasWscale: (options & tcpInfoOption.wscale) !== 0,
    sndWscale: wscale & 15,
    rcvWscale: wscale >> 4,
    rtoUs: raw.readUInt32LE(at.rtoUs),
    sndMss: raw.readUInt32LE(at.sndMss),
    unackedSegments: raw.readUInt32LE(at.unacked),
    lastDataSentMs: raw.readUInt32LE(at.lastDataSentMs),
    lastDataRecvMs: raw.readUInt32LE(at.lastDataRecvMs),
    lastAckRecvMs: raw.readUInt32LE(at.lastAckRecvMs),
    rttUs: raw.readUInt32LE(at.rttUs),
    sndCwnd: raw.readUInt32LE(at.sndCwnd),
    totalRetrans: raw.readUInt32LE(at.totalRetrans),
    bytesReceived: raw.readUInt32LE(at.bytesReceived) + raw.readUInt32LE(at.bytesReceived + 4) * 2 ** 32,
    segsIn: raw.readUInt32LE(at.segsIn),
    segsOut: raw.readUInt32LE(at.segsOut),
    outOfOrderSegments: u32IfThere(at.rcvOooPack),
    sndWndBytes: u32IfThere(at.sndWnd),
    totalRtos: length >= at.totalRto + 2 ? raw.readUInt16LE(at.totalRto) : undefined,
  };
}

const scratch = Buffer.alloc(tcpInfoBytes);

/** TCP_INFO of a TCP socket in any state. */
export function getTcpInfo(fd: number): TcpInfo {
  const length = getBufferOption(fd, solTcp, tcp.info, scratch);
  return parseTcpInfo(scratch, length);
}
