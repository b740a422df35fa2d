/**
 * The client's FIN, delivered again. TCP_REPAIR has no way to say "the peer has closed", so a second socket that plays
 * the client inside this host sends the FIN over loopback. It needs IP_TRANSPARENT (CAP_NET_ADMIN) and no raw socket.
 *
 * It is built while the move can still be undone and fired at activation, because receiving a FIN schedules an ACK,
 * and before activation nothing may leave. It carries no timestamps: one would become the socket's ts_recent, and
 * PAWS would then drop the client's own segments.
 */
import { type Flow, normalizeAddress } from '@restitch/core';
import type { TcpImage } from '@restitch/wire/internal';
import type { Fd } from '@restitch/sys';
import {
  afInet6,
  attachDropFilter,
  bindSocket,
  connectSocket,
  familyOf,
  ip,
  ipv6,
  openTcpSocket,
  sendBytes,
  setIntOption,
  shutdownSend,
  so,
  solIp,
  solIpv6,
  solSocket,
} from '@restitch/sys/internal';
import {
  enterRepair,
  leaveRepair,
  queueStart,
  readWindow,
  selectQueue,
  windowField,
  windowOffsets,
  writeNegotiatedOptions,
  writeQueueSeq,
  writeWindow,
} from './repair.js';

/** The kernel makes it 2,304, of which half counts as window. */
const smallestBufferBytes = 1;
/**
 * Bytes that fill that buffer by more than half: then the kernel offers nothing beyond the window it is told to have offered
 * already, which is the client's. A kilobyte more would be sent into a window that is closed, taken for lost, and sent again by
 * ever longer timeouts, while the client has long opened it.
 */
const fill = Buffer.alloc(600);

/** Opens the socket that will send the client's FIN; pushes its descriptor to `opened` at once. */
export function openFinSender(image: TcpImage, flow: Flow, opened: number[]): number {
  const family = familyOf(normalizeAddress(flow.vip.address));
  const fd = openTcpSocket(family);
  opened.push(fd);
  attachDropFilter(fd);
  enterRepair(fd);
  if (family === afInet6) setIntOption(fd, solIpv6, ipv6.transparent, 1);
  else setIntOption(fd, solIp, ip.transparent, 1);
  setIntOption(fd, solSocket, so.rcvbuf, smallestBufferBytes);
  bindSocket(fd, family, flow.client);
  const firstUnacked = queueStart(image.writeSeq, image.sendQueue.length);
  selectQueue(fd, 'receive');
  writeQueueSeq(fd, queueStart(firstUnacked, fill.length));
  selectQueue(fd, 'send');
  writeQueueSeq(fd, image.rcvNxt);
  connectSocket(fd, family, flow.vip);
  writeNegotiatedOptions(fd, {
    mssClamp: image.mssClamp,
    sndWscale: image.rcvWscale,
    rcvWscale: image.sndWscale,
    hasSack: false,
    hasTimestamps: false,
  });
  selectQueue(fd, 'receive');
  sendBytes(fd, fill);
  selectQueue(fd, 'none');
  // Its FIN must repeat the window the client offered last: the receiver takes it as the client's word.
  const window = readWindow(fd);
  window.writeUInt32LE(windowField(image.window, 'sndWnd'), windowOffsets.rcvWnd);
  window.writeUInt32LE(firstUnacked, windowOffsets.rcvWup);
  window.writeUInt32LE(firstUnacked, windowOffsets.sndWl1);
  window.writeUInt32LE(0xffff, windowOffsets.sndWnd);
  window.writeUInt32LE(0xffff, windowOffsets.maxWindow);
  writeWindow(fd, window);
  return fd;
}

/**
 * Sends the FIN to the socket of this host and closes the sender in silence; the sender is gone in any case. Loopback
 * delivers before this returns, unless the host is overloaded.
 */
export function sendPeerFin(finSender: Fd): void {
  const fd = finSender.value;
  try {
    leaveRepair(fd, false);
    shutdownSend(fd);
    enterRepair(fd);
  } finally {
    finSender.close();
  }
}
