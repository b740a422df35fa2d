/** Activation: a pending socket begins to serve, and what tells whether the client followed. */
import { RestitchError, formatFlow, toRestitchError } from '@restitch/core';
import type { TcpImage } from '@restitch/wire/internal';
import {
  detachFilter,
  familyOf,
  getIntOption,
  getTcpInfo,
  isFinWaiting,
  setIntOption,
  shutdownSend,
  solTcp,
  tcp,
  tcpState,
  unacknowledgedBytes,
  unblockOutput,
} from '@restitch/sys/internal';
import { sendPeerFin } from './peer-fin.js';
import { enterRepair, isProbeHarmless, leaveRepair, readWindow, selectQueue } from './repair.js';
import { type PendingTcp, discardPendingSocket } from './thaw-socket.js';
import { type TimerSettings, continueTimers } from './timers.js';

/** A socket in service. */
export interface ActiveTcp {
  readonly fd: number;
  /** Kernel-unsent bytes of the source: to be written before the application's own unwritten bytes. */
  readonly unsent: Buffer;
  /** The source's FIN was queued behind `unsent` and had not left: end the stream after the unsent bytes. */
  readonly endAfterUnsent: boolean;
  /** Configured timers, if what is left of them was set instead: give them to `restoreTimers` once the client was heard. */
  readonly timers: TimerSettings | undefined;
  /** Segments this host itself has sent to the socket, for `readConfirmation`. */
  readonly ownSegsIn: number;
}

/** How a socket begins to serve, where not in the ordinary way. */
export interface ActivateOptions {
  /** Puts another filter in the place of the one that keeps everything out. */
  readonly replaceFilter?: (fd: number) => void;
  /** False: the client is not probed yet. */
  readonly isProbing?: boolean;
}

/**
 * Leaves repair and serves. Where that does no harm, the kernel sends a probe with an old sequence number, which the
 * client answers; it is its answer that tells what the client has and that it followed. Throws `thaw_failed` with the
 * socket closed and the session lost.
 */
export function activateSocket(pending: PendingTcp, options: ActivateOptions = {}): ActiveTcp {
  try {
    return serve(pending, options);
  } catch (cause) {
    // The session has no other socket any more: its client must see an end, not wait for ever.
    discardPendingSocket(pending);
    throw new RestitchError(
      'thaw_failed',
      `activate ${formatFlow(pending.flow)}: ${toRestitchError(cause).message}`,
      {
        cause,
        details: { step: 'activate' },
      },
    );
  }
}

function serve(pending: PendingTcp, options: ActivateOptions): ActiveTcp {
  const { fd, tcp: image, finSender } = pending;
  // On a local path the answer to the probe arrives within the call that sends it: the filter must be off before.
  if (options.replaceFilter === undefined) detachFilter(fd);
  else options.replaceFilter(fd);
  if (image.sentBytes > 0) unblockOutput(fd, familyOf(pending.flow.vip.address));
  leaveRepair(fd, options.isProbing !== false && isProbeHarmless(image.window, image.mssClamp));
  if (image.options.cork === 1) setIntOption(fd, solTcp, tcp.cork, 1);
  restoreFins(pending);
  const timers = continueTimers(fd, image);
  const unsent = Buffer.from(image.sendQueue.subarray(image.sentBytes));
  return {
    fd,
    unsent,
    endAfterUnsent: isFinUnsent(image),
    timers,
    ownSegsIn: finSender === undefined ? 0 : 1,
  };
}

/** True for a FIN that the source's application had asked for and its kernel had not sent. */
function isFinUnsent(image: TcpImage): boolean {
  return isFinWaiting(image.state) && !image.finSent;
}

/** LAST_ACK is reached when the client's FIN comes first, CLOSING when ours does. */
function restoreFins({ fd, tcp: image, finSender }: PendingTcp): void {
  const isOursFirst = image.finSent && image.state !== tcpState.lastAck;
  if (isOursFirst) sendOwnFinInRepair(fd);
  if (finSender !== undefined) sendPeerFin(finSender);
  if (image.finSent && !isOursFirst) sendOwnFinInRepair(fd);
}

/**
 * Our FIN as already sent: queued in repair, so no packet leaves. Were it sent anew behind more bytes than the
 * congestion window takes, the client's ACK would lie beyond snd_nxt and be discarded for ever.
 */
function sendOwnFinInRepair(fd: number): void {
  enterRepair(fd);
  selectQueue(fd, 'send');
  shutdownSend(fd);
  leaveRepair(fd, false);
}

/** What has been heard from the client since activation. */
export interface Confirmation {
  /** A segment of the client's own has come in. */
  readonly isConfirmed: boolean;
  /** Sent to the client and not acknowledged, our FIN counted. */
  readonly unacknowledgedBytes: number;
}

/** Whether the client's own segment has been seen since activation. */
export function readConfirmation(active: Pick<ActiveTcp, 'fd' | 'ownSegsIn'>): Confirmation {
  const info = getTcpInfo(active.fd);
  return {
    isConfirmed: info.segsIn > active.ownSegsIn,
    unacknowledgedBytes: unacknowledgedBytes(active.fd),
  };
}

/**
 * Draws an ACK from the client by a window probe with an old sequence number (repair on and plain off). Linux clients
 * answer at most one such probe in 500 ms (tcp_invalid_ratelimit), so ask again later if there is no answer. Nothing is
 * sent for a half-closed socket, nor to a client that waits for a window: that one asks by itself.
 */
export function probeClient(fd: number): void {
  enterRepair(fd);
  leaveRepair(fd, isProbeHarmless(readWindow(fd), getIntOption(fd, solTcp, tcp.maxseg)));
}

/** Retransmission timeouts of this connection so far. */
export function readTimeouts(fd: number): number {
  const info = getTcpInfo(fd);
  // Before 6.7 the kernel keeps no total: what is left is the run under way.
  return info.totalRtos ?? info.retransmits;
}
