/**
 * Freeze: one connected socket becomes an image, and stays behind in repair, shut off from the network both ways.
 *
 * The filter comes first, because a socket in repair still receives and still acknowledges: bytes that arrived after
 * the dump would be acknowledged and lost. Its timers run on, too, and would resend data and send delayed ACKs, so its
 * output is blocked as well. All is synchronous: no other code of the process runs in between.
 */
import { RestitchError, addSeq, toRestitchError } from '@restitch/core';
import type { TcpImage } from '@restitch/wire/internal';
import {
  afInet,
  attachDropFilter,
  blockOutput,
  detachFilter,
  familyOf,
  getIntOption,
  getPeerAddress,
  getTcpInfo,
  hasOwnFin,
  hasPeerFin,
  isFinWaiting,
  peekBytes,
  setIntOption,
  so,
  solSocket,
  solTcp,
  tcp,
  tcpState,
  type TcpInfo,
  unacknowledgedBytes,
  unblockOutput,
  unreadBytes,
  unsentBytes,
} from '@restitch/sys/internal';
import { closeFd } from '@restitch/sys';
import {
  enterRepair,
  isInRepair,
  isProbeHarmless,
  leaveRepair,
  readQueueSeq,
  readWindow,
  selectQueue,
} from './repair.js';
import { readCongestion, readSocketOptions } from './socket-options.js';
import { type TimerSettings, elapsedOnTimers } from './timers.js';

/** A frozen socket; whoever holds it ends it by `unfreezeSocket` or `discardFrozenSocket`. */
export interface FrozenTcp {
  /** Still open, in repair and filtered. */
  readonly fd: number;
  readonly tcp: TcpImage;
}

/** What freeze cannot read from the socket itself. */
export interface FreezeOptions {
  /** What `activateSocket` returned as `timers`, if `restoreTimers` was not called since. */
  readonly timers?: TimerSettings | undefined;
}

const emptyQueue = Buffer.alloc(0);
const movableStates: ReadonlySet<number> = new Set([
  tcpState.established,
  tcpState.finWait1,
  tcpState.finWait2,
  tcpState.closeWait,
  tcpState.lastAck,
  tcpState.closing,
]);

/**
 * Freezes `fd` (order of kernel-facts §3) and reads everything that travels. The socket must have passed
 * `inspectSocket`. On failure all is undone, the socket serves on, and `freeze_failed` names the step.
 */
export function freezeSocket(fd: number, options: FreezeOptions = {}): FrozenTcp {
  const at = { step: 'filter' };
  try {
    attachDropFilter(fd);
    at.step = 'info';
    // Behind the filter no packet changes the state any more.
    const info = getTcpInfo(fd);
    assertMovable(info.state);
    at.step = 'output';
    const family = getIntOption(fd, solSocket, so.domain);
    blockOutput(fd, family, packetFamilyOf(fd, family));
    at.step = 'repair';
    enterRepair(fd);
    return { fd, tcp: dump({ fd, family, info, timers: options.timers }, at) };
  } catch (cause) {
    undo(fd);
    const error = toRestitchError(cause);
    const code = error.code === 'socket_unsupported' ? error.code : 'freeze_failed';
    throw new RestitchError(code, `freeze fd ${fd}: ${at.step}: ${error.message}`, {
      cause,
      retryable: error.retryable,
      details: { ...error.details, step: at.step },
    });
  }
}

/** Puts a frozen socket back into service where it is. Throws `freeze_failed` if the kernel does not let it. */
export function unfreezeSocket(fd: number): void {
  try {
    const withProbe = isProbeHarmless(readWindow(fd), getIntOption(fd, solTcp, tcp.maxseg));
    // On a local path the answer to the probe arrives within the call that sends it: the filter must be off before.
    detachFilter(fd);
    unblockOutput(fd, getIntOption(fd, solSocket, so.domain));
    leaveRepair(fd, withProbe);
    pushPending(fd);
    if (isInRepair(fd)) throw new RestitchError('internal', 'socket is still in repair');
  } catch (cause) {
    throw new RestitchError('freeze_failed', `unfreeze fd ${fd}: ${toRestitchError(cause).message}`, {
      cause,
      details: { step: 'unfreeze' },
    });
  }
}

/** Closes a frozen socket without a packet. The flow must have a new owner: the next packet to reach this host draws RST. */
export function discardFrozenSocket(fd: number): void {
  closeFd(fd);
}

/** What the blocked output kept back would otherwise wait for a timer: "uncork" pushes, corked or not. */
function pushPending(fd: number): void {
  if (getIntOption(fd, solTcp, tcp.cork) === 0) setIntOption(fd, solTcp, tcp.cork, 0);
}

function undo(fd: number): void {
  try {
    detachFilter(fd);
    unblockOutput(fd, getIntOption(fd, solSocket, so.domain));
    if (isInRepair(fd)) leaveRepair(fd, false);
    pushPending(fd);
  } catch {
    // The error that brought us here says more than this one.
  }
}

interface Dumped {
  readonly fd: number;
  readonly family: number;
  readonly info: TcpInfo;
  readonly timers: TimerSettings | undefined;
}

/** Everything of an image, from a socket in repair. */
function dump({ fd, family, info, timers }: Dumped, at: { step: string }): TcpImage {
  at.step = 'parameters';
  const state = info.state as TcpImage['state'];
  const mssClamp = getIntOption(fd, solTcp, tcp.maxseg);
  const timestamp = getIntOption(fd, solTcp, tcp.timestamp) >>> 0;
  const window = readWindow(fd);
  at.step = 'options';
  const carried = readSocketOptions(fd, family);
  const elapsed = elapsedOnTimers(info, carried, timers);
  Object.assign(carried, timers);
  const congestion = readCongestion(fd);
  at.step = 'receive-queue';
  const receive = dumpReceiveQueue(fd, state);
  at.step = 'send-queue';
  const send = dumpSendQueue(fd, state);
  // A segment that had passed the filter before it was attached may be processed late on another processor.
  const after = getTcpInfo(fd);
  if (after.bytesReceived !== info.bytesReceived || after.state !== state) {
    throw new RestitchError('freeze_failed', 'a segment arrived while the queues were read', {
      retryable: true,
    });
  }
  return {
    state,
    ...receive,
    ...send,
    mssClamp,
    sndWscale: info.sndWscale,
    rcvWscale: info.rcvWscale,
    hasWscale: info.hasWscale,
    hasSack: info.hasSack,
    hasTimestamps: info.hasTimestamps,
    timestamp,
    window,
    options: carried,
    congestion,
    ...elapsed,
  };
}

/** IPv4 clients of an AF_INET6 listener send IPv4 packets. */
function packetFamilyOf(fd: number, family: number): number {
  return family === afInet ? family : familyOf(getPeerAddress(fd).address);
}

function assertMovable(state: number): void {
  if (movableStates.has(state)) return;
  throw new RestitchError('socket_unsupported', `a socket in TCP state ${state} cannot be moved`, {
    details: { state },
  });
}

function dumpReceiveQueue(fd: number, state: number): Pick<TcpImage, 'rcvNxt' | 'recvQueue' | 'finReceived'> {
  const finReceived = hasPeerFin(state);
  selectQueue(fd, 'receive');
  const end = readQueueSeq(fd);
  const recvQueue = peekExactly(fd, unreadBytes(fd));
  return { rcvNxt: addSeq(end, finReceived ? -1 : 0), recvQueue, finReceived };
}

/**
 * The counts are taken before the queue is selected: in repair with the send queue selected, a pacing timer that fires
 * marks unsent bytes as sent and sends nothing. For the same reason the selection is taken back at once.
 */
function dumpSendQueue(
  fd: number,
  state: number,
): Pick<TcpImage, 'writeSeq' | 'sendQueue' | 'sentBytes' | 'finSent'> {
  const isFinQueued = isFinWaiting(state);
  const isFinCounted = hasOwnFin(state);
  // SIOCOUTQ and SIOCOUTQNSD count a queued FIN as a byte.
  const unacked = unacknowledgedBytes(fd);
  const unsent = unacked === 0 ? 0 : unsentBytes(fd);
  const isFinUnsent = isFinQueued && unsent > 0;
  const queuedBytes = unacked - (isFinQueued ? 1 : 0);
  selectQueue(fd, 'send');
  const end = readQueueSeq(fd);
  const sendQueue = peekTail(fd, queuedBytes);
  selectQueue(fd, 'none');
  return {
    writeSeq: addSeq(end, isFinCounted ? -1 : 0),
    sendQueue,
    sentBytes: queuedBytes - (unsent - (isFinUnsent ? 1 : 0)),
    finSent: isFinCounted && !isFinUnsent,
  };
}

/** Longest run of one queued segment: what the client has of its first one may still be in front. */
const longestSegmentBytes = 1024 * 1024;

/** The last `bytes` of the send queue: a segment acknowledged in part stays whole in it until the rest is. */
function peekTail(fd: number, bytes: number): Buffer {
  if (bytes === 0) return emptyQueue;
  for (const extra of [1, longestSegmentBytes]) {
    const queue = Buffer.allocUnsafeSlow(bytes + extra);
    const got = peekBytes(fd, queue);
    if (got >= bytes && got < queue.length) return queue.subarray(got - bytes, got);
  }
  throw new RestitchError('freeze_failed', `send queue is not the ${bytes} bytes that were announced`);
}

/** The selected queue, which must have exactly `bytes`: one more is asked for, so that a longer queue shows. */
function peekExactly(fd: number, bytes: number): Buffer {
  if (bytes === 0) return emptyQueue;
  const queue = Buffer.allocUnsafeSlow(bytes + 1);
  const got = peekBytes(fd, queue);
  if (got !== bytes) {
    throw new RestitchError('freeze_failed', `queue has ${got} bytes where ${bytes} were announced`);
  }
  return queue.subarray(0, bytes);
}
