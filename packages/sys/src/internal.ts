/** Door for sibling packages of @restitch/sys. */
export {
  createArrayMap,
  deleteElement,
  lookupElement,
  openPinned,
  pinObject,
  possibleCpus,
  programId,
  readMap,
  testRun,
  updateBatch,
  updateElement,
} from './bpf/bpf-syscall.js';
export type { ChunkReader, ElementSize, TestRun, TestRunResult } from './bpf/bpf-syscall.js';
export { attachTc, detachTc, loadBpfObject } from './bpf/libbpf.js';
export type { BpfObject, BpfObjectSpec, TcFilter, TcHook } from './bpf/libbpf.js';
export { openMappedMap } from './bpf/mapped-map.js';
export type { MappedMap } from './bpf/mapped-map.js';
export { openNeighbourTable, parseNeighbours } from './netlink-neighbours.js';
export type { Neighbour, NeighbourState, NeighbourTable } from './netlink-neighbours.js';
export { interfaceIndex, interfaceMac, setQueueLength, setUpSilent } from './network-interface.js';
export { enterNetworkNamespace } from './network-namespace.js';
export { maxTapFrameBytes, openTap, vnetHeaderBytes } from './tap.js';
export type { Tap } from './tap.js';
