/**
 * Frames as they come in at an interface, before anything else looks at them (packet(7)). Only the head of each is
 * copied: who sent it and to whom.
 */
import { Fd } from './fd.js';
import { errno, lastErrno, libc, SyscallError } from './libc.js';
import { interfaceIndex } from './network-interface.js';
import { so, solSocket } from './option-names.js';
import { bindSocketRaw, getBufferOption, openSocket, setIntOption } from './socket.js';

const recvFn = libc.declare('long recv(int fd, void *data, size_t length, int flags)');

const afPacket = 17;
const sockRaw = 3;
const solPacket = 263;
const packetStatistics = 6;
const msgTrunc = 0x20;
const msgDontwait = 0x40;
const sockaddrLinkBytes = 20;
/** A second of full link, so that a reader that gets no turn loses nothing. */
const bufferBytes = 64 * 1024 * 1024;

/** An open tap. */
export interface PacketTap {
  readonly fd: number;
  /** The head of one frame into `memory`; the frame's length on the wire, or 0 if none waits. */
  read(memory: Buffer): number;
  /** Frames that found no room since the last call. */
  takeDropped(): number;
  close(): void;
}

/** Opens a tap for frames of one ether type that arrive at an interface of the current namespace. Needs CAP_NET_RAW. */
export function openPacketTap(interfaceName: string, etherType: number): PacketTap {
  const fd = new Fd(openSocket(afPacket, sockRaw, 0));
  try {
    setIntOption(fd.value, solSocket, so.rcvbufForce, bufferBytes);
    const address = Buffer.alloc(sockaddrLinkBytes);
    address.writeUInt16LE(afPacket, 0);
    address.writeUInt16BE(etherType, 2);
    address.writeInt32LE(interfaceIndex(interfaceName), 4);
    bindSocketRaw(fd.value, address, sockaddrLinkBytes);
  } catch (error) {
    fd.close();
    throw error;
  }
  const statistics = Buffer.alloc(8);
  return {
    fd: fd.value,
    read(memory) {
      const bytes = recvFn(fd.value, memory, memory.length, msgTrunc | msgDontwait);
      if (bytes >= 0) return bytes;
      const error = lastErrno();
      if (error === errno.EAGAIN || error === errno.ENETDOWN) return 0;
      throw new SyscallError('recv', error, fd.value, interfaceName);
    },
    takeDropped() {
      getBufferOption(fd.value, solPacket, packetStatistics, statistics);
      return statistics.readUInt32LE(4);
    },
    close: () => fd.close(),
  };
}
