/** Sends a numbered record every 20 ms to a client that has said its tag and then only reads. */
import type { Session } from '@restitch/endpoint';
import { encodeRecord } from '../clients/records.js';

/** Between two records. */
const tickPeriodMs = 20;
/** Bytes of a record. */
export const tickBytes = 64;

interface TickState {
  readonly tag: string;
  readonly n: number;
}

/** Serves one session; who goes on with it knows from its state which number is next. */
export function serveTicks(session: Session): void {
  let timer: NodeJS.Timeout | undefined;
  const tick = (): void => {
    const { tag, n } = session.state as unknown as TickState;
    session.state = { tag, n: n + 1 };
    session.write(encodeRecord(tag, n, tickBytes));
  };
  const start = (): void => {
    timer ??= setInterval(tick, tickPeriodMs);
  };
  session.on('data', (line: Buffer) => {
    if (timer !== undefined) return;
    session.state = { tag: line.toString('latin1').trim(), n: 0 };
    start();
  });
  session.on('end', () => session.end());
  session.on('error', () => session.destroy());
  session.on('close', () => clearInterval(timer));
  if (session.resumed && session.state !== null) start();
}
