/**
 * What the client really has, when bytes were in flight at the freeze.
 *
 * They are restored as sent, always: the client's answer to the probe of repair-off then says how many it has, and the
 * kernel drops those from its queue. If some stay, they were lost on the way, and the kernel would resend them only
 * after a timeout that a fresh socket sets long (0.4 to 3 s). `rethawRemainder` sends them at once.
 */
import { addSeq, type Flow } from '@restitch/core';
import { tcpState, unacknowledgedBytes, unsentBytes } from '@restitch/sys/internal';
import { type ActivateOptions, type ActiveTcp, activateSocket } from './activate-socket.js';
import { discardFrozenSocket, freezeSocket } from './freeze-socket.js';
import { queueStart } from './repair.js';
import { thawSocket } from './thaw-socket.js';

/** Bytes sent and still not acknowledged; before the client was heard this says nothing about what it has. */
export function readRemainder(fd: number): number {
  return unacknowledgedBytes(fd) - unsentBytes(fd);
}

/** A socket that sends its remainder anew. */
export interface Resent extends ActiveTcp {
  /** Sequence number of the remainder's first byte. */
  readonly startSeq: number;
}

/**
 * Replaces a confirmed socket by one that has its remainder as unsent, and returns that; `fd` is closed. To be called
 * only while the flow is held and after `readConfirmation` saw the client: between the two sockets an arriving packet
 * would draw an RST from the listener. Never before the client was heard, or the connection may hang for good.
 * Throws `freeze_failed` with the socket serving on, or `thaw_failed` with the session lost.
 */
export function rethawRemainder(fd: number, flow: Flow, options: ActivateOptions = {}): Resent {
  const { tcp } = freezeSocket(fd);
  discardFrozenSocket(fd);
  const finSent = tcp.finSent && tcp.state === tcpState.finWait2;
  const active = activateSocket(thawSocket({ ...tcp, sentBytes: 0, finSent }, flow), options);
  return { ...active, startSeq: queueStart(tcp.writeSeq, tcp.sendQueue.length) };
}

/**
 * Takes `rethawRemainder` back: the client has more than it seemed, and its acknowledgements, ahead of all that was sent,
 * are thrown away for good. All of the remainder becomes sent, so that they count again; what is missing then comes by the
 * kernel's own timeout. Throws as `rethawRemainder` does.
 */
export function rethawAsSent({ fd, unsent }: Pick<ActiveTcp, 'fd' | 'unsent'>, flow: Flow): ActiveTcp {
  const { tcp } = freezeSocket(fd);
  discardFrozenSocket(fd);
  const sendQueue = Buffer.concat([tcp.sendQueue, unsent]);
  const writeSeq = addSeq(tcp.writeSeq, unsent.length);
  return activateSocket(thawSocket({ ...tcp, sendQueue, writeSeq, sentBytes: sendQueue.length }, flow));
}
