/**
 * A socket that is to be rebuilt without its source: what never changes is read once, while it lives, and the rest is
 * reckoned from the positions that were replicated.
 *
 * Sequence numbers must be right (a stale checkpoint with wrong ones hangs both sides for good); the window and the
 * timestamp only have to be believable, because the client's next segment corrects the one and PAWS bounds the other.
 */
import { addSeq } from '@restitch/core';
import type { TcpImage } from '@restitch/core/internal';
import { getIntOption, getTcpInfo, solTcp, tcp, tcpState, unreadBytes } from '@restitch/sys/internal';
import {
  enterRepair,
  leaveRepair,
  readQueueSeq,
  readWindow,
  selectQueue,
  windowField,
  windowOffsets,
} from './repair.js';
import { readCongestion, readSocketOptions } from './socket-options.js';

/** What a socket says of itself once, at accept or after a thaw. */
export type TcpTemplate = Pick<
  TcpImage,
  | 'mssClamp'
  | 'sndWscale'
  | 'rcvWscale'
  | 'hasWscale'
  | 'hasSack'
  | 'hasTimestamps'
  | 'timestamp'
  | 'window'
  | 'options'
  | 'congestion'
> & {
  /** Sequence number of input offset 0 and of output offset 0. */
  readonly clientStart: number;
  readonly serverStart: number;
  /** Wall time of `timestamp`: the buddy is another machine. */
  readonly readAtMs: number;
};

/** Where a replica stands. */
export interface CheckpointPositions {
  readonly inputEnd: number;
  readonly finReceived: boolean;
  /** Output from `outputStart` on, kept because the client may not have it. */
  readonly outputStart: number;
  readonly output: Uint8Array;
}

/** Where the streams of a session that has just been accepted, or thawed, stand at the moment of reading. */
export interface TemplateOffsets {
  /** Bytes read from the socket by this process or before it. */
  readonly inputRead: number;
  /** Bytes written to the socket, likewise. */
  readonly outputWritten: number;
}

/** Two machines' clocks and our own delays: a timestamp in the past is dropped by the client (PAWS), one ahead is not. */
const timestampMarginMs = 5000;

/** Room the client may count on until its first segment shows the real window. */
const assumedWindowBytes = 65_535;

/** Reads a template. The socket goes into repair for some microseconds and comes back without a packet. */
export function readTemplate(fd: number, family: number, at: TemplateOffsets, nowMs: number): TcpTemplate {
  const congestion = readCongestion(fd);
  const options = readSocketOptions(fd, family);
  const info = getTcpInfo(fd);
  enterRepair(fd);
  try {
    selectQueue(fd, 'receive');
    const received = readReadEnd(fd);
    selectQueue(fd, 'send');
    const written = readQueueSeq(fd);
    selectQueue(fd, 'none');
    const finReceived = info.state === tcpState.closeWait ? 1 : 0;
    return {
      mssClamp: getIntOption(fd, solTcp, tcp.maxseg),
      sndWscale: info.sndWscale,
      rcvWscale: info.rcvWscale,
      hasWscale: info.hasWscale,
      hasSack: info.hasSack,
      hasTimestamps: info.hasTimestamps,
      timestamp: getIntOption(fd, solTcp, tcp.timestamp) >>> 0,
      window: readWindow(fd),
      options,
      congestion,
      clientStart: addSeq(received, -at.inputRead - finReceived),
      serverStart: addSeq(written, -at.outputWritten),
      readAtMs: nowMs,
    };
  } finally {
    leaveRepair(fd, false);
  }
}

/** Sequence number behind the last byte that was read from the socket; bytes may arrive between two looks. */
function readReadEnd(fd: number): number {
  for (;;) {
    const end = readQueueSeq(fd);
    const queued = unreadBytes(fd);
    if (readQueueSeq(fd) === end) return addSeq(end, -queued);
  }
}

/** The image of a socket whose source is gone. */
export function imageFromCheckpoint(template: TcpTemplate, at: CheckpointPositions, nowMs: number): TcpImage {
  const { clientStart, serverStart, readAtMs, ...plain } = template;
  const rcvNxt = addSeq(clientStart, at.inputEnd);
  const elapsedMs = Math.max(0, nowMs - readAtMs) + timestampMarginMs;
  return {
    ...plain,
    state: at.finReceived ? tcpState.closeWait : tcpState.established,
    rcvNxt,
    writeSeq: addSeq(serverStart, at.outputStart + at.output.length),
    recvQueue: new Uint8Array(),
    sendQueue: at.output,
    sentBytes: at.output.length,
    finReceived: at.finReceived,
    finSent: false,
    timestamp: laterTimestamp(template.timestamp, elapsedMs),
    window: windowAt(template.window, addSeq(rcvNxt, at.finReceived ? 1 : 0)),
    keepaliveElapsedMs: 0,
    unackedElapsedMs: 0,
  };
}

/** Bit 0 says that the clock counts microseconds (Linux 6.7); it stays. */
function laterTimestamp(timestamp: number, elapsedMs: number): number {
  const isMicroseconds = (timestamp & 1) === 1;
  const ticks = Math.round(isMicroseconds ? elapsedMs * 1000 : elapsedMs);
  return addSeq(timestamp, ticks + (ticks & 1));
}

/** Last acknowledged segment and right edge follow rcv_nxt; the edge never lies left of what was announced at least. */
function windowAt(window: Uint8Array, rcvNxt: number): Uint8Array {
  const copy = Buffer.from(window);
  const announced = windowField(window, 'rcvWnd');
  copy.writeUInt32LE(rcvNxt, windowOffsets.sndWl1);
  copy.writeUInt32LE(rcvNxt, windowOffsets.rcvWup);
  copy.writeUInt32LE(Math.max(announced, assumedWindowBytes), windowOffsets.rcvWnd);
  const sendWindow = Math.max(windowField(window, 'sndWnd'), assumedWindowBytes);
  copy.writeUInt32LE(sendWindow, windowOffsets.sndWnd);
  copy.writeUInt32LE(Math.max(windowField(window, 'maxWindow'), sendWindow), windowOffsets.maxWindow);
  return copy;
}
