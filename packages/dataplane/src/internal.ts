/** Door for sibling packages of @restitch/dataplane. */
export { probePrograms } from './probe-programs.js';
export { segmentFlags, writeSegment } from './segment.js';
export type { Segment } from './segment.js';
