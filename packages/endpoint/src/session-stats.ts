/** What the kernel says of a session's socket, for the access point's figures. */
import { getTcpInfo } from '@restitch/sys/internal';
import type { SessionStats } from '@restitch/wire/internal';
import type { Session } from './session/session.js';

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
