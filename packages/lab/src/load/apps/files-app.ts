/**
 * A small HTTP/1.1 server whose requests survive a move in the middle: `GET /bytes/N` answers N bytes of the pattern, `GET /`
 * a file of 64 MiB of it, `POST /hash` answers the SHA-256 of its body. One request a connection.
 *
 * All it knows of a request stands in the session's state, which travels.
 */
import type { Duplex } from 'node:stream';
import type { PlainData } from '@restitch/wire';
import { patternAt } from '../clients/pattern.js';
import { createSha256, finishSha256, updateSha256 } from './portable-sha256.js';
import type { Sha256State } from './portable-sha256.js';

/** What a session of this application needs of its carrier. */
export interface StatefulSession extends Duplex {
  state: PlainData;
  readonly resumed: boolean;
}

type RequestState =
  | { readonly t: 'head'; text: string }
  | { readonly t: 'download'; readonly length: number; offset: number }
  | { readonly t: 'upload'; remaining: number; readonly hash: Sha256State }
  | { readonly t: 'answered' };

/** Long enough to be moved while a person types, short enough to wait for. */
const defaultFileBytes = 64 * 1024 * 1024;
const pieceBytes = 65_536;
const maxHeadBytes = 8192;

/** Serves one session, new or moved here. */
export function serveFiles(session: StatefulSession): void {
  if (!session.resumed) setState(session, { t: 'head', text: '' });
  session.on('drain', () => continueDownload(session));
  session.on('data', (bytes: Buffer) => take(session, bytes));
  session.on('end', () => {
    if (stateOf(session).t !== 'download') session.end();
  });
  session.on('error', () => session.destroy());
  if (session.resumed) continueDownload(session);
}

function take(session: StatefulSession, bytes: Buffer): void {
  const state = stateOf(session);
  if (state.t === 'head') {
    takeHead(session, state, bytes);
  } else if (state.t === 'upload') {
    const body = bytes.subarray(0, state.remaining);
    updateSha256(state.hash, body);
    state.remaining -= body.length;
    if (state.remaining === 0) answer(session, 200, `${finishSha256(state.hash)}\n`);
  }
}

function takeHead(session: StatefulSession, state: { text: string }, bytes: Buffer): void {
  state.text += bytes.toString('latin1');
  const end = state.text.indexOf('\r\n\r\n');
  if (end < 0) {
    if (state.text.length > maxHeadBytes) answer(session, 431, 'head too long\n');
    return;
  }
  const head = state.text.slice(0, end);
  const rest = Buffer.from(state.text.slice(end + 4), 'latin1');
  const [method = '', path = ''] = head.split(' ', 2);
  const length = path === '/' ? defaultFileBytes : Number(/^\/bytes\/(\d{1,12})$/.exec(path)?.[1] ?? -1);
  if (method === 'GET' && length >= 0) {
    session.write(
      `HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: ${length}\r\nconnection: close\r\n\r\n`,
    );
    setState(session, { t: 'download', length, offset: 0 });
    continueDownload(session);
  } else if (method === 'POST' && path === '/hash') {
    if (/^expect: *100-continue$/im.test(head)) session.write('HTTP/1.1 100 Continue\r\n\r\n');
    const remaining = Number(/^content-length: *(\d+)$/im.exec(head)?.[1] ?? 0);
    setState(session, { t: 'upload', remaining, hash: createSha256() });
    if (remaining === 0) answer(session, 411, 'a content-length is needed\n');
    else if (rest.length > 0) take(session, rest);
  } else {
    answer(session, 404, 'GET /, GET /bytes/N or POST /hash\n');
  }
}

function continueDownload(session: StatefulSession): void {
  const state = stateOf(session);
  if (state.t !== 'download') return;
  while (state.offset < state.length) {
    const piece = patternAt(state.offset, Math.min(pieceBytes, state.length - state.offset));
    state.offset += piece.length;
    if (!session.write(piece) && state.offset < state.length) return;
  }
  setState(session, { t: 'answered' });
  session.end();
}

function answer(session: StatefulSession, status: number, body: string): void {
  setState(session, { t: 'answered' });
  session.end(
    `HTTP/1.1 ${status} ${status === 200 ? 'OK' : 'Refused'}\r\ncontent-type: text/plain\r\n` +
      `content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function stateOf(session: StatefulSession): RequestState {
  return session.state as unknown as RequestState;
}

function setState(session: StatefulSession, state: RequestState): void {
  session.state = state as unknown as PlainData;
}
