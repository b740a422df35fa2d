/** Swallows what it gets and says at the end how much it was: an upload that nothing but the connection slows. */
import type { Session } from '@restitch/endpoint';

/** Serves one session; its only state is the stream position. */
export function serveSink(session: Session): void {
  session.on('data', () => undefined);
  session.on('end', () => session.end(`${session.bytesRead}\n`));
  session.on('error', () => session.destroy());
}
