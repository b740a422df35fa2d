/** Door for sibling packages of @restitch/dataplane. */
export { segmentFlags, writeSegment } from './segment.js';
export type { Segment } from './segment.js';
