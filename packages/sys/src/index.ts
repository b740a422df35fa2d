/** Public door of @restitch/sys. */
export {
  SyscallError,
  check,
  errno,
  errnoName,
  libc,
} from './libc.js';
export type { NativeArgument, NativeFunction, NativeLibrary, NativePointerFunction } from './libc.js';
export { Fd, closeFd, duplicateFd } from './fd.js';
export { enterNetworkNamespace, inNetworkNamespace } from './network-namespace.js';
export { threadCpuNs } from './thread-clock.js';
export { openPacketTap } from './packet-tap.js';
export type { PacketTap } from './packet-tap.js';
export { createReadWaiter, openWireTap } from './wire-tap.js';
export type { WireTap } from './wire-tap.js';
export { effectiveCapabilities, keepCapabilities } from './capabilities.js';
export type { CapabilityName } from './capabilities.js';
export { probeFeatures } from './features.js';
export type { FeatureNeed, FeatureReport } from './features.js';
export { isKernelAtLeast, oldestKernel, triedKernels } from './kernels.js';
export { readFileLimit } from './process-limits.js';
export type { FileLimit } from './process-limits.js';
export { destroyTcpSocket, findTcpSocket, listTcpSockets } from './sock-diag.js';
export type { ListedSocket } from './sock-diag.js';
