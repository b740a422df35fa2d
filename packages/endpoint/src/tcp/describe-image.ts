/** Of an image, for the log: what says where its connection was in its life. */
import { type Flow, formatFlow } from '@restitch/core';
import type { TcpImage } from '@restitch/wire/internal';

/** Fields of a log line. Contents are not among them. */
export function describeImage(session: string, flow: Flow, epoch: number, tcp: TcpImage): object {
  const { state, writeSeq, sentBytes, finSent, finReceived, rcvNxt, sendQueue, recvQueue } = tcp;
  const sequence = { state, writeSeq, sentBytes, finSent, finReceived, rcvNxt };
  const queued = { sendQueue: sendQueue.length, recvQueue: recvQueue.length };
  return { session, flow: formatFlow(flow), epoch, ...sequence, ...queued };
}
