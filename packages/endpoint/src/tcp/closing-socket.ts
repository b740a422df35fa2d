/**
 * A connection whose application is through, seen through a descriptor that was kept: what its client lacks yet, whether
 * it is over, and how to end it by name.
 *
 * EPOLLHUP stands at once in LAST_ACK and TCP's states are told by nobody, so it is looked at.
 */
import type { Flow } from '@restitch/core';
import type { TcpImage } from '@restitch/wire/internal';
import { closeFd, duplicateFd, SyscallError, errno } from '@restitch/sys';
import {
  getIntOption,
  getTcpInfo,
  hasPeerFin,
  setBufferOption,
  shutdownSend,
  so,
  solSocket,
  tcpState,
  unacknowledgedBytes,
  unreadBytes,
} from '@restitch/sys/internal';
import { activateSocket } from './activate-socket.js';
import { discardFrozenSocket, freezeSocket } from './freeze-socket.js';
import { thawSocket } from './thaw-socket.js';

/** How a connection stands at whose end we look. */
export type ClosingLook =
  /** Both FINs are acknowledged (error 0), or it was reset, or the kernel gave it up (an errno). */
  | { readonly isOver: true; readonly error: number }
  | {
      readonly isOver: false;
      /** Not acknowledged by the client, our FIN counted. */
      readonly tailBytes: number;
      /** Received and read by nobody. */
      readonly unreadBytes: number;
      /** The client's FIN is in. */
      readonly finReceived: boolean;
    };

/** One look. The error is told once: the kernel forgets it by telling. */
export function lookAtClosing(fd: number): ClosingLook {
  const { state } = getTcpInfo(fd);
  if (state === tcpState.close) return { isOver: true, error: getIntOption(fd, solSocket, so.error) };
  return {
    isOver: false,
    tailBytes: unacknowledgedBytes(fd),
    unreadBytes: unreadBytes(fd),
    finReceived: hasPeerFin(state),
  };
}

/** A second descriptor of a connection that is not over yet; undefined if it is, and nothing is left to be kept. */
export function keepDescriptor(fd: number): number | undefined {
  if (fd < 0 || getTcpInfo(fd).state === tcpState.close) return undefined;
  try {
    return duplicateFd(fd);
  } catch (error) {
    if (error instanceof SyscallError && error.errno === errno.EMFILE) return undefined;
    throw error;
  }
}

/** Queues our FIN, if it is not queued yet. With SHUT_RD as well the kernel would reset a client that goes on sending. */
export function endOutput(fd: number): void {
  try {
    shutdownSend(fd);
  } catch (error) {
    // Over in this moment.
    if (!(error instanceof SyscallError) || error.errno !== errno.ENOTCONN) throw error;
  }
}

const zeroLinger = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

/**
 * Ends the connection by RST and closes `fd`, whatever becomes of it. In LAST_ACK and CLOSING the kernel sends none for a
 * socket that has sent everything, so there it is rebuilt as one that has not.
 */
export function resetClosing(fd: number, flow: Flow): void {
  const own = resettable(fd, flow);
  try {
    setBufferOption(own, solSocket, so.linger, zeroLinger);
  } finally {
    closeFd(own);
  }
}

/** The socket, or in its place one for which the kernel sends a reset. `fd` is closed if that cannot be had. */
function resettable(fd: number, flow: Flow): number {
  let image: TcpImage;
  try {
    const { state } = getTcpInfo(fd);
    if (state !== tcpState.lastAck && state !== tcpState.closing) return fd;
    image = freezeSocket(fd).tcp;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  discardFrozenSocket(fd);
  // What was not sent stays away: beyond the client's window a reset is not looked at.
  const unfinished = { ...image, state: tcpState.closeWait, finSent: false };
  return activateSocket(thawSocket(unfinished, flow), { isProbing: false }).fd;
}
