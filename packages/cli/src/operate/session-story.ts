/** A session's story in words: where it is, and each move with its steps, timings and reasons. */
import type { MoveAnswer, SessionAnswer, StoryAnswer, SessionTakeOverAnswer } from '@restitch/wire';
import { formatSocketAddress } from '@restitch/core';
import { formatDurationMs } from './format-table.js';

/** One move in one line. */
export function moveLine(m: MoveAnswer): string {
  const unconfirmed = m.unconfirmed ? ', unconfirmed' : '';
  const what = `${m.sessionId} ${m.source} → ${m.target}: ${m.outcome}${unconfirmed}`;
  const why =
    m.failure === undefined ? '' : ` at ${m.failure.step}: ${m.failure.message} (${m.failure.code})`;
  const times = m.moveMs > 0 ? `, ${formatDurationMs(m.moveMs)} from hold to switch` : '';
  return `${what}${times}${why}`;
}

/** One take-over in one line. */
export function takeOverLine(t: SessionTakeOverAnswer): string {
  if (t.outcome === 'taken') return `${t.sessionId} taken over from ${t.from} by ${t.to}, epoch ${t.epoch}`;
  if (t.outcome === 'finishing')
    return `${t.sessionId} had been ended by its application at ${t.from}: ${t.reason ?? 'its kernel delivers the rest'}`;
  const told = t.client === undefined ? '' : `, client: ${t.client}`;
  const after = t.resetMs === undefined ? '' : ` after ${formatDurationMs(t.resetMs)}`;
  const what = t.outcome === 'ended' ? 'ended' : 'lost';
  return `${t.sessionId} ${what} with ${t.from}: ${t.reason ?? 'unknown'}${told}${after}`;
}

/** What a closing session waits for. */
export function tailOf({ tailBytes, isFinishing }: SessionAnswer): string {
  const bytes = `${tailBytes ?? 0} bytes to be acknowledged`;
  return isFinishing ? `${bytes}, delivered by the kernel: its process has ended` : bytes;
}

/** The whole story; ends with a line break. */
export function storyLines(story: StoryAnswer): string {
  const lines: string[] = [];
  const { session, record, moves, takeOvers } = story;
  if (session === null) lines.push('This session has ended; these are its moves that are remembered.');
  else {
    const { flow } = session;
    lines.push(
      `session ${session.id}: ${formatSocketAddress(flow.client)} to ${formatSocketAddress(flow.vip)}`,
    );
    lines.push(`  on ${session.endpoint}, epoch ${session.epoch}, ${session.moves} moves`);
    if (session.phase === 'closing') lines.push(`  ended by its application; ${tailOf(session)}`);
    if (session.pinned !== null) lines.push(`  pinned: ${session.pinned}`);
    const { buddy, cheapTarget } = session;
    if (buddy)
      lines.push(`  buddy ${buddy}${cheapTarget === buddy ? ', a move there is cheap' : ', not there yet'}`);
    if (story.replication) lines.push(...costLines(story.replication));
    if (session.doubt !== null) lines.push(`  in doubt: ${session.doubt}`);
    if (session.move !== null)
      lines.push(`  in move ${session.move.id} to ${session.move.target}: ${session.move.state}`);
    lines.push(
      record === null
        ? '  the data plane has no record of it'
        : `  record: ${record.endpoint}, epoch ${record.epoch}, ${record.phase}; ${record.packets} packets, ${record.bytes} bytes, idle ${formatDurationMs(Math.max(0, record.idleMs))}`,
    );
  }
  for (const move of moves) lines.push(...moveLines(move));
  for (const t of takeOvers) lines.push(`${new Date(t.atMs).toISOString()} ${takeOverLine(t)}`);
  return `${lines.join('\n')}\n`;
}

function costLines(cost: NonNullable<StoryAnswer['replication']>): string[] {
  const delay = ({ p50, p99 }: { p50: number; p99: number }): string =>
    `p50 ${formatDurationMs(p50)}, p99 ${formatDurationMs(p99)}`;
  return [
    `  replicated: ${cost.commits} commits, ${cost.replicatedBytes} bytes, of which the buddy keeps ${cost.keptBytes}`,
    `  a commit takes ${delay(cost.commitDelayMs)}; output waits ${delay(cost.addedLatencyMs)}`,
  ];
}

function moveLines(m: MoveAnswer): string[] {
  const start = m.steps[0]?.atMs ?? 0;
  const figures = Object.entries(m.figures).map(([key, value]) => `${key} ${value}`);
  return [
    `${new Date(m.startedAtMs).toISOString()} move ${m.moveId}`,
    `  ${moveLine(m)}`,
    `  prepare ${formatDurationMs(m.prepareMs)}, confirm ${formatDurationMs(m.confirmMs)}${figures.length > 0 ? `, ${figures.join(', ')}` : ''}`,
    ...m.steps.map((s) => `    +${(s.atMs - start).toFixed(3).padStart(9)} ms  ${s.state}`),
  ];
}
