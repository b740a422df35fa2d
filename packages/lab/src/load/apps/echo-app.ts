/** Answers what it gets. Without a line of code about moves: its only state is the stream position. */
import type { Duplex } from 'node:stream';

/** Serves one session. */
export function serveEcho(session: Duplex): void {
  session.on('data', (bytes: Buffer) => {
    if (!session.write(bytes)) {
      session.pause();
      session.once('drain', () => session.resume());
    }
  });
  session.on('end', () => session.end());
  session.on('error', () => session.destroy());
}
