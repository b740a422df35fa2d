/** TCP_REPAIR by the step (linux/tcp.h; net/ipv4/tcp.c): mode, queues, sequence numbers, options, window. */
import { addSeq } from '@restitch/core';
import {
  getBufferOption,
  getIntOption,
  repairMode,
  repairQueue,
  setBufferOption,
  setIntOption,
  setUintOption,
  so,
  solSocket,
  solTcp,
  tcp,
} from '@restitch/sys/internal';

/** What TCP_REPAIR_OPTIONS takes: agreed in the handshake and never again on the wire. */
export interface NegotiatedOptions {
  readonly mssClamp: number;
  readonly sndWscale: number;
  readonly rcvWscale: number;
  readonly hasSack: boolean;
  readonly hasTimestamps: boolean;
}

const tcpoptMss = 2;
const tcpoptWindow = 3;
const tcpoptSackPerm = 4;
const tcpoptTimestamp = 8;

const optionScratch = Buffer.alloc(32);
const optionViews = [16, 24, 32].map((bytes) => optionScratch.subarray(0, bytes));

/** Enters repair. The kernel refuses on a listener and without CAP_NET_ADMIN (EPERM). */
export function enterRepair(fd: number): void {
  setIntOption(fd, solTcp, tcp.repair, repairMode.on);
}

/**
 * Leaves repair and lets the port be shared with the listener again: repair-off clears SO_REUSEADDR, and then the
 * application's own listener cannot bind (EADDRINUSE).
 */
export function leaveRepair(fd: number, withWindowProbe: boolean): void {
  setIntOption(fd, solTcp, tcp.repair, withWindowProbe ? repairMode.off : repairMode.offNoWindowProbe);
  setIntOption(fd, solSocket, so.reuseaddr, 1);
}

/** True while the socket is in repair. */
export function isInRepair(fd: number): boolean {
  return getIntOption(fd, solTcp, tcp.repair) === 1;
}

/** Selects the queue that send, recv and the sequence number mean. */
export function selectQueue(fd: number, queue: keyof typeof repairQueue): void {
  setIntOption(fd, solTcp, tcp.repairQueue, repairQueue[queue]);
}

/** Sequence number at the end of the selected queue: rcv_nxt or write_seq. */
export function readQueueSeq(fd: number): number {
  return getIntOption(fd, solTcp, tcp.queueSeq) >>> 0;
}

/** Sets it; only before connect. */
export function writeQueueSeq(fd: number, seq: number): void {
  setUintOption(fd, solTcp, tcp.queueSeq, seq >>> 0);
}

/** TCP_REPAIR_WINDOW as the kernel gives it: as many bytes as this kernel has, 20 today. */
export function readWindow(fd: number): Buffer {
  windowBytes ??= findWindowBytes(fd);
  const window = Buffer.alloc(windowBytes);
  getBufferOption(fd, solTcp, tcp.repairWindow, window);
  return window;
}

/**
 * Sets the window, cut or padded to what this kernel has: the call takes exactly its own size. A longer struct of a
 * newer kernel begins with the same five words; what a shorter one lacks stays as the fresh socket has it.
 */
export function writeWindow(fd: number, window: Uint8Array): void {
  if (window.length === windowBytes) {
    setBufferOption(fd, solTcp, tcp.repairWindow, window);
    return;
  }
  const fitted = readWindow(fd);
  fitted.set(window.subarray(0, fitted.length));
  setBufferOption(fd, solTcp, tcp.repairWindow, fitted);
}

let windowBytes: number | undefined;

/** Both calls fail with EINVAL for any size but the kernel's own. */
function findWindowBytes(fd: number): number {
  for (let bytes = 20; ; bytes += 4) {
    try {
      getBufferOption(fd, solTcp, tcp.repairWindow, Buffer.alloc(bytes));
      return bytes;
    } catch (error) {
      if (bytes >= 64) throw error;
    }
  }
}

/** Fields of struct tcp_repair_window by offset. */
export const windowOffsets = { sndWl1: 0, sndWnd: 4, maxWindow: 8, rcvWnd: 12, rcvWup: 16 } as const;

/** One field of a window. */
export function windowField(window: Uint8Array, field: keyof typeof windowOffsets): number {
  return new DataView(window.buffer, window.byteOffset).getUint32(windowOffsets[field], true);
}

/**
 * Whether the probe of plain repair-off does no harm. It offers the window of the moment in a segment with an old
 * sequence number: the client answers, but does not take the offer. If it is waiting for one (less than two segments
 * were open to it), nobody would repeat the offer, and both sides would wait for half a second.
 */
export function isProbeHarmless(window: Uint8Array, mssClamp: number): boolean {
  return windowField(window, 'rcvWnd') >= 2 * mssClamp;
}

/** Sets what the handshake agreed on; only in repair, after connect and before any byte. */
export function writeNegotiatedOptions(fd: number, options: NegotiatedOptions): void {
  let at = 0;
  const put = (code: number, value: number): void => {
    optionScratch.writeUInt32LE(code, at);
    optionScratch.writeUInt32LE(value >>> 0, at + 4);
    at += 8;
  };
  put(tcpoptMss, options.mssClamp);
  put(tcpoptWindow, options.sndWscale | (options.rcvWscale << 16));
  if (options.hasSack) put(tcpoptSackPerm, 0);
  if (options.hasTimestamps) put(tcpoptTimestamp, 0);
  const view = optionViews[(at - 16) / 8];
  if (view !== undefined) setBufferOption(fd, solTcp, tcp.repairOptions, view);
}

/** Sequence number of the first byte of a queue that ends at `end`. */
export function queueStart(end: number, queuedBytes: number): number {
  return addSeq(end, -queuedBytes);
}
