/** What the kernel says of a session's socket, for the access point's figures. */
import { getTcpInfo } from '@restitch/sys/internal';
import type { ReplicationCost } from './protect/commit-cost.js';
import type { Session } from './session/session.js';

/** One session's figures; counts since its socket was made here. */
export interface SessionStats {
  readonly id: string;
  /** Retransmission timeouts; of the running series only, on kernels before 6.7. */
  readonly rtos: number;
  readonly retransmittedSegments: number;
  readonly rttUs: number;
  readonly unackedSegments: number;
  readonly segmentsIn: number;
  readonly segmentsOut: number;
  /** Read from the kernel, not yet consumed by the application. */
  readonly unreadBytes: number;
  /** Written by the application, not yet taken by the kernel. */
  readonly unwrittenBytes: number;
  /** What its protection costs, at level commit. */
  readonly replication?: ReplicationCost;
}

/** Reads TCP_INFO of a live session. */
export function readSessionStats(session: Session): SessionStats {
  const { replication } = session;
  const info = getTcpInfo(session.fd);
  return {
    id: session.id,
    rtos: info.totalRtos ?? info.retransmits,
    retransmittedSegments: info.totalRetrans,
    rttUs: info.rttUs,
    unackedSegments: info.unackedSegments,
    segmentsIn: info.segsIn,
    segmentsOut: info.segsOut,
    unreadBytes: session.readableLength,
    unwrittenBytes: session.writableLength,
    ...(replication === undefined ? {} : { replication }),
  };
}
