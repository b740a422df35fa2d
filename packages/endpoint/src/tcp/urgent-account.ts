/**
 * Urgent bytes take sequence numbers and are not in the stream (SO_OOBINLINE is off, as in net.Socket): without an account
 * of them a position in the stream would not be a sequence number, and what was received could not be acknowledged.
 *
 * The kernel has received, less what nobody has read, less what was read: that many were left out. While a mark is pending the
 * kernel's count of unread bytes stops at it, so that there the bytes behind it are counted by a look.
 */
import {
  getTcpInfo,
  hasPeerFin,
  isAtUrgentMark,
  peekBytes,
  pollEvent,
  pollFd,
  tcpState,
  unreadBytes,
} from '@restitch/sys/internal';

/** More behind a mark than this is not counted, but read first. */
const peekScratch = Buffer.alloc(64 * 1024);

/** The account of one kernel socket, from its first byte on. */
export class UrgentAccount {
  #readBytes = 0;
  #skipped = 0;

  /** So many bytes were read from the socket. */
  noteRead(bytes: number): void {
    this.#readBytes += bytes;
  }

  /**
   * Urgent bytes in front of the reader. Only when all that was read is noted. Never more than there are: what arrives
   * during the look makes it less, and the next one right.
   */
  look(fd: number): number {
    const { state, bytesReceived } = getTcpInfo(fd);
    if (state === tcpState.close) return this.#skipped;
    const received = bytesReceived - (hasPeerFin(state) ? 1 : 0) - this.#readBytes;
    const missing = received - unreadBytes(fd);
    if (missing <= this.#skipped) return this.#skipped;
    if ((pollFd(fd, pollEvent.urgent) & pollEvent.urgent) === 0 && !isAtUrgentMark(fd)) {
      this.#skipped = missing;
    } else if (isAtUrgentMark(fd)) {
      // At the mark: the urgent byte is behind us as soon as anything is read, and nothing of it is in the stream.
      const behind = Math.max(0, peekBytes(fd, peekScratch));
      if (behind < peekScratch.length) this.#skipped = Math.max(this.#skipped, received - behind);
    }
    return this.#skipped;
  }
}
