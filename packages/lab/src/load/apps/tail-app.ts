/**
 * Plays the server in every phase of a connection's end, as the client's first line asks: the other half of the clients in
 * `lives/`. All it sends is the pattern from an offset the client names, so that the client can tell lost, doubled, wrong
 * and missing bytes apart; its state says where it stands, so that an heir goes on there.
 */
import type { Session } from '@restitch/endpoint';
import { StreamChecker } from '../lives/stream-checker.js';
import { patternAt } from '../clients/pattern.js';

/** The client's first line, as JSON. */
export interface TailCommand {
  /**
   * send: `bytes` of the pattern, then the end. echo: what comes, to the client's end. collect: as send, and then it goes on
   * reading, checks that against the pattern, and writes a receipt to its log. abort: sends, then breaks off with the
   * client's input unread.
   */
  readonly do: 'send' | 'echo' | 'collect' | 'abort';
  readonly tag: string;
  /** What it sends, and from where in the pattern; 0 for an echo. */
  readonly bytes: number;
  readonly base: number;
  /** send: not before the client's end. */
  readonly isEndLate?: boolean;
  /** send: in one write, and ends at once: what the kernel does not take waits in libuv. */
  readonly isOneWrite?: boolean;
  /** abort: by RST and not by destroy(). */
  readonly isReset?: boolean;
}

/** What a collecting server writes to its log when the client's end has come. */
export interface TailReceipt {
  readonly tag: string;
  readonly bytes: number;
  readonly bad: number;
}

interface TailState {
  head: string;
  command: TailCommand | null;
  sent: number;
  received: number;
  bad: number;
  isInputOver: boolean;
}

const pieceBytes = 65_536;
/** A client that says no line is not one of ours. */
const longestLineBytes = 1024;
const receiptMark = 'tail receipt ';

/** The receipts in a log. */
export function parseReceipts(log: string): TailReceipt[] {
  return log
    .split('\n')
    .filter((line) => line.startsWith(receiptMark))
    .map((line) => JSON.parse(line.slice(receiptMark.length)) as TailReceipt);
}

/** Serves one session. */
export function serveTail(session: Session): void {
  session.state ??= { head: '', command: null, sent: 0, received: 0, bad: 0, isInputOver: false };
  const state = session.state as unknown as TailState;
  session.on('data', (bytes: Buffer) => {
    if (state.command !== null) {
      takeInput(session, state, bytes);
      return;
    }
    state.head += bytes.toString('latin1');
    const end = state.head.indexOf('\n');
    if (end < 0) {
      if (state.head.length > longestLineBytes) session.destroy();
      return;
    }
    const rest = Buffer.from(state.head.slice(end + 1), 'latin1');
    state.command = JSON.parse(state.head.slice(0, end)) as TailCommand;
    state.head = '';
    begin(session, state);
    if (rest.length > 0) takeInput(session, state, rest);
  });
  session.on('end', () => {
    state.isInputOver = true;
    onInputOver(session, state);
  });
  session.on('error', () => session.destroy());
  if (session.resumed && state.command !== null) begin(session, state);
}

/** Also of a session that came here in the middle of it. */
function begin(session: Session, state: TailState): void {
  const { command } = state;
  if (command?.do === 'abort') session.pause();
  sendRest(session, state);
}

function sendRest(session: Session, state: TailState): void {
  const { command } = state;
  if (command === null || command.do === 'echo' || session.destroyed || session.writableEnded) return;
  const { bytes, base, isOneWrite } = command;
  if (isOneWrite === true && state.sent === 0) {
    state.sent = bytes;
    session.write(wholePattern(base, bytes));
  }
  while (state.sent < bytes) {
    const piece = patternAt(base + state.sent, Math.min(pieceBytes, bytes - state.sent));
    state.sent += piece.length;
    if (session.write(piece)) continue;
    session.once('drain', () => sendRest(session, state));
    return;
  }
  finishOutput(session, state);
}

function finishOutput(session: Session, state: TailState): void {
  const { command } = state;
  if (command?.do === 'abort') {
    // Behind everything that was written, so that the client may have it.
    session.write(patternAt(command.base + command.bytes, 1), () => {
      if (command.isReset === true) session.resetAndDestroy();
      else session.destroy();
    });
    return;
  }
  if (command?.isEndLate !== true || state.isInputOver) session.end();
}

function takeInput(session: Session, state: TailState, bytes: Buffer): void {
  const { command } = state;
  if (command?.do === 'collect') {
    const checker = new StreamChecker(command.base + command.bytes + state.received);
    checker.push(bytes);
    state.received += bytes.length;
    state.bad += checker.lostBytes + checker.doubledBytes + checker.wrongBytes;
  }
  if (command?.do !== 'echo' || session.write(bytes)) return;
  session.pause();
  session.once('drain', () => session.resume());
}

function onInputOver(session: Session, state: TailState): void {
  const { command } = state;
  if (command === null) {
    session.end();
    return;
  }
  if (command.do === 'collect') {
    const receipt: TailReceipt = { tag: command.tag, bytes: state.received, bad: state.bad };
    process.stdout.write(`${receiptMark}${JSON.stringify(receipt)}\n`);
  }
  const isThrough = command.do === 'echo' || (command.do === 'send' && state.sent >= command.bytes);
  if (isThrough && !session.writableEnded) session.end();
}

function wholePattern(base: number, bytes: number): Buffer {
  const whole = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; ) at += patternAt(base + at, bytes - at).copy(whole, at);
  return whole;
}
