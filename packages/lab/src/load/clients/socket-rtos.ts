/** Retransmission timeouts of a client's own socket, as its kernel counts them. */
import type { Socket } from 'node:net';
import { getTcpInfo } from '@restitch/sys/internal';

/** tcpi_total_rto of a connected socket (linux/tcp.h, Linux 6.7), or 0 if it has been closed. */
export function readRtoCount(socket: Socket): number {
  const fd = (socket as Socket & { readonly _handle?: { readonly fd?: number } | null })._handle?.fd;
  if (fd === undefined || fd < 0) return 0;
  const info = getTcpInfo(fd);
  return info.totalRtos ?? info.retransmits;
}
