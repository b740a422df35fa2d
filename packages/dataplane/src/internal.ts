/** Door for sibling packages of @restitch/dataplane. */
export { buildTcpFrame, tcpFlags } from './frames.js';
export { pinnedPath } from './pins.js';
export { listPinnedRecords } from './pinned-records.js';
export { probePrograms } from './probe-programs.js';
export { segmentFlags, writeSegment } from './segment.js';
