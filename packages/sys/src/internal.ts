/** Door for sibling packages of @restitch/sys: the kernel by the call. */
export {
  createSingleElementMap,
  deleteElement,
  deleteElements,
  lookupElement,
  openPinned,
  pinObject,
  possibleCpus,
  readMap,
  readMapChunks,
  testRun,
  updateElement,
} from './bpf/bpf-syscall.js';
export { attachTc, detachTc, loadBpfObject } from './bpf/libbpf.js';
export type { TcFilter, TcHook } from './bpf/libbpf.js';
export { assertGroupReaches, inspectBpfDirectory, prepareBpfDirectory } from './bpf-directory.js';
export type { BpfDirectoryState } from './bpf-directory.js';
export { mountBpffs, unmountBpffs } from './bpffs.js';
export { probeProgram } from './bpf/probe-program.js';
export { openMappedMap } from './bpf/mapped-map.js';
export type { MappedMap } from './bpf/mapped-map.js';
export { openNeighbourTable } from './netlink-neighbours.js';
export type { Neighbour } from './netlink-neighbours.js';
export { interfaceIndex, interfaceMac } from './network-interface.js';
export { enterNetworkNamespace } from './network-namespace.js';
export { openIcmpEcho } from './icmp-echo.js';
export type { EchoReply, IcmpEcho } from './icmp-echo.js';
export { openRawSender } from './raw-sender.js';
export type { RawSender } from './raw-sender.js';
export { maxTapFrameBytes, openTap, vnetHeaderBytes } from './tap.js';
export type { Tap } from './tap.js';
export {
  acceptSocket,
  bindSocket,
  connectSocket,
  getBufferOption,
  getIntOption,
  getIntOptionIfKnown,
  getLocalAddress,
  getPeerAddress,
  isAtUrgentMark,
  listenSocket,
  openSocket,
  openTcpSocket,
  peekBytes,
  receiveBytes,
  sendBytes,
  sendUrgentByte,
  setBufferOption,
  setIntOption,
  setUintOption,
  shutdownSend,
  unacknowledgedBytes,
  unreadBytes,
  unsentBytes,
} from './socket.js';
export {
  afInet,
  afInet6,
  encodeSocketAddress,
  familyOf,
} from './socket-address.js';
export {
  ip,
  ipv6,
  repairMode,
  repairQueue,
  so,
  solIp,
  solIpv6,
  solSocket,
  solTcp,
  tcp,
} from './option-names.js';
export {
  getTcpInfo,
  hasOwnFin,
  hasPeerFin,
  isFinWaiting,
  ownFinStates,
  tcpState,
} from './tcp-info.js';
export type { TcpInfo } from './tcp-info.js';
export {
  attachDropFilter,
  blockOutput,
  detachFilter,
  receiveMemoryBytes,
  unblockOutput,
} from './socket-block.js';
export { pollEvent, pollFd } from './poll.js';
export { signalUrgentBytes } from './signal-owner.js';
export { hasProcessEnded, openPidfd, peerCredentials } from './process-watch.js';
