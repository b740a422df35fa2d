/** What became of the sessions of an endpoint that was told of its end. */
import type { PredictRun } from './predict-run.js';
import { loadedEndpoint, noticeMs } from './traffic.js';

/** Figures of one notice. */
export interface NoticeFigures {
  /** Sessions that were there when it was given. */
  readonly sessions: number;
  /** Of them, still there at the deadline. */
  readonly left: number;
  /** From the notice to the last move away. */
  readonly emptyAfterMs: number;
  readonly noticeMs: number;
  readonly movedTwice: number;
  /** Of all pairs of a precious and an ordinary session, the share in which the precious one left first. */
  readonly preciousFirst: number;
}

/** Judges a run of the pattern `notice`; undefined for others. */
export function judgeNotice(run: PredictRun): NoticeFigures | undefined {
  if (run.traffic.noticeAtMs === undefined) return undefined;
  const givenMs = run.startMs + run.traffic.noticeAtMs;
  const moves = run.moves.filter((move) => move.outcome === 'committed');
  const before = new Set(moves.filter((m) => m.atMs < givenMs).map((m) => m.session));
  const atHome = run.traffic.clients.filter((client) => client.home === loadedEndpoint);
  const away = moves.filter(
    (m) => m.source === loadedEndpoint && m.atMs >= givenMs && m.atMs <= givenMs + noticeMs,
  );
  const departed = new Set(away.map((m) => m.session));
  const counts = new Map<string, number>();
  for (const { session } of moves) counts.set(session, (counts.get(session) ?? 0) + 1);
  const sessions = atHome.length - before.size;
  return {
    sessions,
    left: sessions - departed.size,
    emptyAfterMs: Math.round(Math.max(0, ...away.map((m) => m.atMs - givenMs))),
    noticeMs,
    movedTwice: [...counts.values()].filter((n) => n > 1).length,
    preciousFirst: shareInOrder(run, away),
  };
}

function shareInOrder(run: PredictRun, away: PredictRun['moves']): number {
  const tags = new Set(run.traffic.clients.filter((c) => c.isPrecious).map((c) => c.tag));
  const ports = new Set(run.clients.filter((c) => tags.has(c.tag)).map((c) => c.localPort));
  const precious = away.filter((m) => ports.has(m.clientPort));
  const ordinary = away.filter((m) => !ports.has(m.clientPort));
  const pairs = precious.length * ordinary.length;
  const right = precious.flatMap((p) => ordinary.filter((o) => p.begunAtMs <= o.begunAtMs)).length;
  return pairs === 0 ? 0 : Math.round((1000 * right) / pairs) / 1000;
}
