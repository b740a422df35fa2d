/**
 * Thaw: an image becomes a socket again, beside the listener, in repair and filtered, without a packet on the wire.
 *
 * The order of the steps is the kernel's own demand (kernel-facts §4). All bytes that the source had sent are restored
 * as sent, never as unsent: if the client already has more of them than the initial congestion window, its ACK would
 * lie beyond snd_nxt, the kernel would discard it, and the connection would hang for good.
 */
import {
  type Flow,
  RestitchError,
  addSeq,
  formatFlow,
  normalizeAddress,
  toRestitchError,
} from '@restitch/core';
import type { TcpImage } from '@restitch/wire/internal';
import { Fd, closeFd } from '@restitch/sys';
import {
  afInet6,
  attachDropFilter,
  bindSocket,
  blockOutput,
  connectSocket,
  familyOf,
  getIntOption,
  getTcpInfo,
  ipv6,
  openTcpSocket,
  sendBytes,
  setIntOption,
  setUintOption,
  so,
  solIpv6,
  solSocket,
  solTcp,
  tcp,
  unacknowledgedBytes,
  unsentBytes,
} from '@restitch/sys/internal';
import { openFinSender } from './peer-fin.js';
import {
  enterRepair,
  queueStart,
  readQueueSeq,
  readWindow,
  selectQueue,
  windowField,
  writeNegotiatedOptions,
  writeQueueSeq,
  writeWindow,
} from './repair.js';
import { applyCongestion, applyPlainOptions, freshOptions } from './socket-options.js';
import { capTimeouts } from './timers.js';

/** A socket that stands but does not serve yet; ended by `activateSocket` or `discardPendingSocket`. */
export interface PendingTcp {
  readonly fd: number;
  readonly flow: Flow;
  readonly tcp: TcpImage;
  /** Socket that will deliver the client's FIN again, if it sent one. */
  readonly finSender: Fd | undefined;
  /** False if this host lacks the source's congestion control and its own is in use. */
  readonly isCongestionKept: boolean;
}

/**
 * A socket opened beforehand for a thaw: shut off inwards, in repair, and not yet of any connection. What can be done
 * before the image is here need not be done while the client's packets are held.
 */
export class ReservedSocket {
  readonly family: number;
  #fd: number;

  /** Throws `SyscallError`. */
  constructor(flow: Flow) {
    this.family = familyOf(normalizeAddress(flow.vip.address));
    this.#fd = openTcpSocket(this.family);
    try {
      attachDropFilter(this.#fd);
      enterRepair(this.#fd);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The descriptor, which is the caller's from now on. */
  take(): number {
    const fd = this.#fd;
    this.#fd = -1;
    return fd;
  }

  /** Closes it unless it was taken. */
  close(): void {
    const fd = this.take();
    if (fd >= 0) closeFd(fd);
  }
}

/** Room a send buffer needs beyond its bytes for the kernel's own bookkeeping, as a factor. */
const sendBufferFactor = 2;

/**
 * Builds the socket of `image` for `flow`, in the socket `reserved` for it if there is one. Throws `thaw_failed` with the step in its message and `details.step`,
 * after closing what it made in silence.
 */
export function thawSocket(
  image: TcpImage,
  flow: Flow,
  reserved: ReservedSocket = new ReservedSocket(flow),
): PendingTcp {
  const at = { step: 'socket' };
  const opened: number[] = [];
  try {
    const { family } = reserved;
    const fd = reserved.take();
    opened.push(fd);
    return build({ image, flow, fd, family, opened }, at);
  } catch (cause) {
    // In repair or not yet connected: closing sends nothing.
    for (const fd of opened) closeFd(fd);
    const error = toRestitchError(cause);
    throw new RestitchError('thaw_failed', `thaw ${formatFlow(flow)}: ${at.step}: ${error.message}`, {
      cause,
      details: { ...error.details, step: at.step },
    });
  }
}

/** Closes a pending socket without a packet. */
export function discardPendingSocket(pending: PendingTcp): void {
  closeFd(pending.fd);
  pending.finSender?.close();
}

interface Build {
  readonly image: TcpImage;
  readonly flow: Flow;
  readonly fd: number;
  readonly family: number;
  /** Descriptors to close if a step fails. */
  readonly opened: number[];
}

function build({ image, flow, fd, family, opened }: Build, at: { step: string }): PendingTcp {
  at.step = 'repair';
  setIntOption(fd, solTcp, tcp.maxseg, image.mssClamp);
  if (isWithinWindow(image)) capTimeouts(fd);
  at.step = 'options';
  applyPlainOptions(fd, family, image.options);
  const isCongestionKept = applyCongestion(fd, family, image.congestion);
  applyBufferSizes(fd, family, image);
  at.step = 'bind';
  if (family === afInet6 && image.options.v6only !== undefined) {
    setIntOption(fd, solIpv6, ipv6.v6only, image.options.v6only);
  }
  bindSocket(fd, family, flow.vip);
  at.step = 'sequence-numbers';
  setSequenceNumbers(fd, image);
  at.step = 'connect';
  connectSocket(fd, family, flow.client);
  at.step = 'negotiated-options';
  writeNegotiatedOptions(fd, image);
  // Bytes restored as sent start the retransmission timer, which repair does not stop.
  if (image.sentBytes > 0) blockOutput(fd, family);
  at.step = 'receive-queue';
  fillQueue(fd, 'receive', image.recvQueue);
  at.step = 'send-queue';
  fillQueue(fd, 'send', image.sendQueue.subarray(0, image.sentBytes));
  at.step = 'window';
  setWindow(fd, image);
  at.step = 'verify';
  verify(fd, image);
  at.step = 'peer-fin';
  const finSender = image.finReceived ? new Fd(openFinSender(image, flow, opened)) : undefined;
  return { fd, flow, tcp: image, finSender, isCongestionKept };
}

/**
 * Bytes restored as sent for which the client has no room, as it said last. The kernel gives a connection up whose peer
 * has a shut window and is silent for twice the longest timeout (net/ipv4/tcp_timer.c tcp_rtx_probe0_timed_out): with
 * the cap that were two seconds, which a network or a lease is away for.
 */
function isWithinWindow({ sentBytes, finSent, window }: TcpImage): boolean {
  return sentBytes + (finSent ? 1 : 0) <= windowField(window, 'sndWnd');
}

/**
 * Buffers must be large enough before the queues are filled. A size is carried if the application locked it or the
 * queue needs it, and autotuning is given back afterwards by SO_BUF_LOCK.
 */
function applyBufferSizes(fd: number, family: number, image: TcpImage): void {
  const { rcvbuf = 0, sndbuf = 0, bufLock } = image.options;
  const fresh = freshOptions(family);
  const isSndLocked = bufLock !== undefined && (bufLock & 1) !== 0;
  const isRcvLocked = bufLock !== undefined && (bufLock & 2) !== 0;
  const sndNeeded = image.sentBytes * sendBufferFactor;
  let isSet = false;
  if (isRcvLocked || rcvbuf > (fresh.rcvbuf ?? 0) || image.recvQueue.length > rcvbuf / 2) {
    const size = Math.max(rcvbuf, image.recvQueue.length + (image.recvQueue.length >> 3));
    setIntOption(fd, solSocket, so.rcvbufForce, Math.ceil(size / 2));
    isSet = true;
  }
  if (isSndLocked || sndNeeded > (fresh.sndbuf ?? 0)) {
    setIntOption(fd, solSocket, so.sndbufForce, Math.ceil(Math.max(sndbuf, sndNeeded) / 2));
    isSet = true;
  }
  if (isSet && bufLock !== undefined) setIntOption(fd, solSocket, so.bufLock, bufLock);
}

/** Both queues begin empty: their numbers are those of the first byte that will be filled in. */
function setSequenceNumbers(fd: number, image: TcpImage): void {
  selectQueue(fd, 'receive');
  writeQueueSeq(fd, queueStart(image.rcvNxt, image.recvQueue.length));
  selectQueue(fd, 'send');
  writeQueueSeq(fd, queueStart(image.writeSeq, image.sendQueue.length));
  setUintOption(fd, solTcp, tcp.timestamp, image.timestamp);
}

/** One send takes at most 69,632 bytes of the receive queue (17 pages, net/ipv4/tcp_input.c tcp_send_rcvq). */
function fillQueue(fd: number, name: 'receive' | 'send', queue: Uint8Array): void {
  if (queue.length === 0) return;
  selectQueue(fd, name);
  for (let done = 0; done < queue.length; ) {
    const taken = sendBytes(fd, done === 0 ? queue : queue.subarray(done));
    if (taken === 0) {
      throw new RestitchError('thaw_failed', `kernel took ${done} of ${queue.length} bytes`);
    }
    done += taken;
  }
}

/** rcv_wup may not lie behind rcv_nxt, which does not count the client's FIN yet. */
function setWindow(fd: number, image: TcpImage): void {
  let { window } = image;
  if (image.finReceived) {
    const copy = Buffer.from(window);
    const rcvWnd = windowField(copy, 'rcvWnd');
    const rcvWup = windowField(copy, 'rcvWup');
    if (rcvWup === addSeq(image.rcvNxt, 1)) {
      copy.writeUInt32LE(image.rcvNxt, 16);
      copy.writeUInt32LE(rcvWnd + 1, 12);
    }
    window = copy;
  }
  writeWindow(fd, window);
  // Lifts rcv_ssthresh to the window, which a fresh socket would have to grow into again.
  if ((image.options.windowClamp ?? 0) > 0) {
    setIntOption(fd, solTcp, tcp.windowClamp, image.options.windowClamp ?? 0);
  }
}

/** Reads back what the kernel took; its setters round, clamp and ignore without a word. */
function verify(fd: number, image: TcpImage): void {
  const expect = (what: string, found: number, wanted: number): void => {
    if (found !== wanted) {
      throw new RestitchError('thaw_failed', `${what} is ${found}, the image says ${wanted}`, {
        details: { what, found, wanted },
      });
    }
  };
  const unsent = image.sendQueue.length - image.sentBytes;
  selectQueue(fd, 'receive');
  expect('rcv_nxt', readQueueSeq(fd), image.rcvNxt);
  selectQueue(fd, 'send');
  expect('write_seq', readQueueSeq(fd), addSeq(image.writeSeq, -unsent));
  if (image.sentBytes > 0) {
    expect('bytes restored as sent', unacknowledgedBytes(fd) - unsentBytes(fd), image.sentBytes);
  }
  expect('mss clamp', getIntOption(fd, solTcp, tcp.maxseg), image.mssClamp);
  const window = readWindow(fd);
  expect('snd_wnd', windowField(window, 'sndWnd'), windowField(image.window, 'sndWnd'));
  expect(
    'window edge',
    addSeq(windowField(window, 'rcvWup'), windowField(window, 'rcvWnd')),
    addSeq(windowField(image.window, 'rcvWup'), windowField(image.window, 'rcvWnd')),
  );
  const info = getTcpInfo(fd);
  expect('send window scale', info.sndWscale, image.sndWscale);
  expect('receive window scale', info.rcvWscale, image.rcvWscale);
  expect('selective acknowledgement', Number(info.hasSack), Number(image.hasSack));
  expect('timestamps', Number(info.hasTimestamps), Number(image.hasTimestamps));
}
