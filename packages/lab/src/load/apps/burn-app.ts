/**
 * Answers each line with itself, after a fixed amount of processor time: load that a forecast can be tried on.
 *
 * One request a turn of the event loop, so that the process hears its control connection also when it is overloaded.
 * Lines not answered yet are the session's state and travel with it.
 */
import type { Session } from '@restitch/endpoint';

/** Processor time of one request. */
export const requestCpuUs = 800;

const ready: Session[] = [];
const waiting = new Set<Session>();

/** Serves one session, new or moved here. */
export function serveBurn(session: Session): void {
  if (!session.resumed) session.state = { unanswered: '' };
  session.on('data', (bytes: Buffer) => {
    session.state = { unanswered: unansweredOf(session) + bytes.toString('latin1') };
    enqueue(session);
  });
  session.onThaw(() => enqueue(session));
  session.on('end', () => endWhenAnswered(session));
  session.on('error', () => session.destroy());
}

function enqueue(session: Session): void {
  if (waiting.has(session) || !unansweredOf(session).includes('\n')) return;
  waiting.add(session);
  ready.push(session);
  if (ready.length === 1) setImmediate(takeTurn);
}

function takeTurn(): void {
  const session = ready.shift();
  if (session !== undefined) {
    waiting.delete(session);
    // A session that was moved away takes its lines with it; one that comes back is woken by its thaw.
    if (session.phase === 'live') answerOne(session);
  }
  if (ready.length > 0) setImmediate(takeTurn);
}

function answerOne(session: Session): void {
  const text = unansweredOf(session);
  const end = text.indexOf('\n') + 1;
  burn(requestCpuUs);
  session.state = { unanswered: text.slice(end) };
  session.write(Buffer.from(text.slice(0, end), 'latin1'));
  if (session.readableEnded) endWhenAnswered(session);
  // Not enqueue: it would start a second chain of turns while this one goes on.
  if (unansweredOf(session).includes('\n')) {
    waiting.add(session);
    ready.push(session);
  }
}

function endWhenAnswered(session: Session): void {
  if (!unansweredOf(session).includes('\n')) session.end();
}

function unansweredOf(session: Session): string {
  return (session.state as { unanswered?: string } | null)?.unanswered ?? '';
}

/** The process's own count, not the clock: a throttled process has not worked. */
function burn(cpuUs: number): void {
  const usedUs = (): number => {
    const { user, system } = process.cpuUsage();
    return user + system;
  };
  const untilUs = usedUs() + cpuUs;
  while (usedUs() < untilUs);
}
