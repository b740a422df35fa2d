/** Bytes to lines, for the channels of a host that carry one JSON object a line. */
import { RestitchError } from '@restitch/core';

const lineFeed = 10;

/**
 * Calls back for each line without its end. `from` names the channel in errors. Throws `message_invalid` for a line of more
 * than `maxLineBytes`, whether it has ended or not; then the reader is of no use.
 */
export function createLineReader(
  from: string,
  maxLineBytes: number,
  onLine: (line: string) => void,
): (chunk: Buffer) => void {
  let parts: Buffer[] = [];
  let partBytes = 0;
  const keep = (part: Buffer): void => {
    partBytes += part.length;
    if (partBytes > maxLineBytes) {
      throw new RestitchError('message_invalid', `${from}: a line has more than ${maxLineBytes} bytes`, {
        details: { reason: 'oversize', maxLineBytes },
      });
    }
    parts.push(part);
  };
  return (chunk) => {
    let start = 0;
    for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, start)) {
      keep(chunk.subarray(start, end));
      start = end + 1;
      const line = Buffer.concat(parts, partBytes).toString('utf8');
      parts = [];
      partBytes = 0;
      onLine(line.endsWith('\r') ? line.slice(0, -1) : line);
    }
    if (start < chunk.length) keep(chunk.subarray(start));
  };
}
