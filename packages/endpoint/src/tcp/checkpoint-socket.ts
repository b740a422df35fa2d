/**
 * A socket that is to be rebuilt without its source: what never changes is read once, while it lives, and the rest is
 * reckoned from the positions that were replicated.
 *
 * Sequence numbers must be right (a stale checkpoint with wrong ones hangs both sides for good); the window and the
 * timestamp only have to be believable, because the client's next segment corrects the one and PAWS bounds the other.
 */
import { addSeq } from '@restitch/core';
import type { TcpImage, TcpTemplate } from '@restitch/wire/internal';
import {
  getIntOption,
  getTcpInfo,
  hasOwnFin,
  solTcp,
  tcp,
  tcpState,
  unreadBytes,
} from '@restitch/sys/internal';
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

/** Where a replica stands. */
export interface CheckpointPositions {
  readonly inputEnd: number;
  readonly finReceived: boolean;
  /** Output from `outputStart` on, kept because the client may not have it. */
  readonly outputStart: number;
  readonly output: Uint8Array;
  /** Urgent bytes up to `inputEnd`. */
  readonly skipped?: number;
  /**
   * The application has ended its output behind `output`. Whether the client has our FIN is not known: it is restored as
   * sent, because an acknowledgement of it would else lie beyond all that was sent, and be thrown away for good.
   */
  readonly isEnded?: boolean;
}

/** Where the streams of a session that has just been accepted, or thawed, stand at the moment of reading. */
export interface TemplateOffsets {
  /** Bytes read from the socket by this process or before it. */
  readonly inputRead: number;
  /** Bytes written to the socket, likewise. */
  readonly outputWritten: number;
}

/** Room the client may count on until its first segment shows the real window. */
const assumedWindowBytes = 65_535;

/** Largest window TCP's header can announce, before it is scaled. */
const largestWindowField = 65_535;

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

/** Sequence number behind the last byte the kernel has taken, our FIN not counted. In repair for some microseconds. */
export function readWrittenEnd(fd: number): number {
  const isFinCounted = hasOwnFin(getTcpInfo(fd).state);
  enterRepair(fd);
  try {
    selectQueue(fd, 'send');
    const end = readQueueSeq(fd);
    selectQueue(fd, 'none');
    return addSeq(end, isFinCounted ? -1 : 0);
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

/**
 * The image of a socket whose source is gone. `nowMs` is wall time on the buddy, ahead by as much as two hosts' clocks may
 * differ: a timestamp of the past is dropped by the client (PAWS); but what it is ahead becomes the socket's first measure
 * of the round trip, and its timeout three times that.
 */
export function imageFromCheckpoint(template: TcpTemplate, at: CheckpointPositions, nowMs: number): TcpImage {
  const { clientStart, serverStart, readAtMs, ...plain } = template;
  const rcvNxt = addSeq(clientStart, at.inputEnd + (at.skipped ?? 0));
  const elapsedMs = Math.max(0, nowMs - readAtMs);
  return {
    ...plain,
    state: stateOf(at.finReceived, at.isEnded === true),
    rcvNxt,
    writeSeq: addSeq(serverStart, at.outputStart + at.output.length),
    recvQueue: new Uint8Array(),
    sendQueue: at.output,
    sentBytes: at.output.length,
    finReceived: at.finReceived,
    finSent: at.isEnded === true,
    timestamp: laterTimestamp(template.timestamp, elapsedMs),
    window: windowAt(template, addSeq(rcvNxt, at.finReceived ? 1 : 0), at.output.length),
    keepaliveElapsedMs: 0,
    unackedElapsedMs: 0,
  };
}

function stateOf(finReceived: boolean, finSent: boolean): TcpImage['state'] {
  if (finSent) return finReceived ? tcpState.lastAck : tcpState.finWait1;
  return finReceived ? tcpState.closeWait : tcpState.established;
}

/** Bit 0 says that the clock counts microseconds (Linux 6.7); it stays. */
function laterTimestamp(timestamp: number, elapsedMs: number): number {
  const isMicroseconds = (timestamp & 1) === 1;
  const ticks = Math.round(isMicroseconds ? elapsedMs * 1000 : elapsedMs);
  return addSeq(timestamp, ticks + (ticks & 1));
}

/**
 * Both windows are as large as they can have been. A pure acknowledgement bears the sequence number behind everything
 * its sender has sent: if that lies outside a window that was guessed too small, each side throws the other's
 * acknowledgements away, and neither ever learns how far the other is.
 */
function windowAt(template: TcpTemplate, rcvNxt: number, sentBytes: number): Uint8Array {
  const { window } = template;
  const copy = Buffer.from(window);
  const promised = largestWindowField * 2 ** (template.hasWscale ? template.rcvWscale : 0);
  copy.writeUInt32LE(rcvNxt, windowOffsets.sndWl1);
  copy.writeUInt32LE(rcvNxt, windowOffsets.rcvWup);
  copy.writeUInt32LE(promised, windowOffsets.rcvWnd);
  const sendWindow = Math.max(windowField(window, 'sndWnd'), assumedWindowBytes, sentBytes);
  copy.writeUInt32LE(sendWindow, windowOffsets.sndWnd);
  copy.writeUInt32LE(Math.max(windowField(window, 'maxWindow'), sendWindow), windowOffsets.maxWindow);
  return copy;
}
