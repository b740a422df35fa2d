/**
 * Whole IP packets to somebody else, under any source address: the kernel finds route and neighbour (raw(7), IP_HDRINCL).
 *
 * Not AF_PACKET, which would need the next hop's MAC and break behind a router.
 */
import { isIpv4 } from '@restitch/core';
import { Fd } from './fd.js';
import { errno, lastErrno, libc, SyscallError } from './libc.js';
import { afInet, afInet6, encodeSocketAddress, socketAddressBytes } from './socket-address.js';
import { openSocket } from './socket.js';

const sendtoFn = libc.declare(
  'long sendto(int fd, void *data, size_t length, int flags, void *address, unsigned int addressLength)',
);

const sockRaw = 3;
const ipprotoRaw = 255;
const msgDontwait = 0x40;
/** The packet is lost on the way, as packets are: whoever sends raw ones sends again. */
const lostOnTheWay: ReadonlySet<number> = new Set([
  errno.EAGAIN,
  errno.ENETUNREACH,
  errno.ENOBUFS,
  errno.EHOSTUNREACH,
]);

/** Sends packets that have their IP header. */
export interface RawSender {
  /** False if the kernel had no way or no room for it. Throws `syscall_failed` for what repeating does not mend. */
  send(packet: Uint8Array, to: string): boolean;
  close(): void;
}

/** Opens one socket a family when it is first needed. Needs CAP_NET_RAW. */
export function openRawSender(): RawSender {
  const sockets = new Map<number, Fd>();
  const address = Buffer.alloc(socketAddressBytes);
  return {
    send(packet, to) {
      const family = isIpv4(to) ? afInet : afInet6;
      let fd = sockets.get(family);
      if (fd === undefined) {
        fd = new Fd(openSocket(family, sockRaw, ipprotoRaw));
        sockets.set(family, fd);
      }
      const bytes = encodeSocketAddress({ address: to, port: 0 }, family, address);
      if (sendtoFn(fd.value, packet, packet.length, msgDontwait, address, bytes) >= 0) return true;
      const error = lastErrno();
      if (lostOnTheWay.has(error)) return false;
      throw new SyscallError('sendto', error, fd.value, `${packet.length} bytes to ${to}`);
    },
    close() {
      for (const fd of sockets.values()) fd.close();
      sockets.clear();
    },
  };
}
