/** What the demo shows while it runs: a live table in a terminal, plain lines anywhere else. */
import type { CliEnv } from '@restitch/console';
import type { DriverTotals } from '../load/clients/driver-messages.js';

/** One row of the table. */
interface EndpointRow {
  readonly name: string;
  readonly state: string;
  readonly sessions: number;
  readonly movedIn: number;
  readonly movedOut: number;
}

/** What the table shows. */
export interface DemoFrame {
  readonly endpoints: readonly EndpointRow[];
  readonly totals: DriverTotals;
  readonly transferredBytes: number;
  readonly moves: { readonly committed: number; readonly reverted: number };
}

/** Where the demo tells its story. */
export interface DemoView {
  /** A new act begins. */
  act(title: string): void;
  /** Something worth a line happened. */
  note(text: string): void;
  /** Shows the numbers of the moment; plain lines skip most of them. */
  frame(frame: DemoFrame): void;
  /** Shows lines in the place of the table; plain lines leave them out. */
  picture(lines: readonly string[]): void;
  /** Leaves the table as it stands. */
  close(): void;
}

const barUnit = 1;

/** A view on standard output, or, when that carries JSON, on standard error. */
export function createDemoView(env: CliEnv, isJson: boolean): DemoView {
  if (isJson) return createLineView(env.err);
  return env.isTerminal ? createTableView(env.out) : createLineView(env.out);
}

/** Plain lines: acts and notes, and the numbers once at the end of each act. */
export function createLineView(write: (text: string) => void): DemoView {
  let last: DemoFrame | undefined;
  const flush = (): void => {
    if (last !== undefined) write(`      ${describeFrame(last)}\n`);
    last = undefined;
  };
  return {
    act: (title) => {
      flush();
      write(`\n${title}\n`);
    },
    note: (text) => write(`      ${text}\n`),
    frame: (frame) => {
      last = frame;
    },
    picture: () => undefined,
    close: flush,
  };
}

/** A table that is drawn over itself. */
export function createTableView(write: (text: string) => void): DemoView {
  let drawnLines = 0;
  const erase = (): string => {
    const text = drawnLines === 0 ? '' : `\u001b[${drawnLines}A\u001b[0J`;
    drawnLines = 0;
    return text;
  };
  const draw = (lines: readonly string[]): void => {
    write(`${erase()}${lines.join('\n')}\n`);
    drawnLines = lines.length;
  };
  return {
    act: (title) => write(`${erase()}\n\u001b[1m${title}\u001b[0m\n`),
    note: (text) => write(`${erase()}  ${text}\n`),
    frame: (frame) => draw(tableLines(frame)),
    picture: draw,
    close: () => {
      drawnLines = 0;
    },
  };
}

/** The table's lines. */
function tableLines(frame: DemoFrame): string[] {
  const rows = frame.endpoints.map((row) => {
    const bar = '█'
      .repeat(Math.ceil(row.sessions / barUnit))
      .padEnd(44)
      .slice(0, 44);
    const moved = `in ${String(row.movedIn).padStart(4)}  out ${String(row.movedOut).padStart(4)}`;
    return `  ${row.name}  ${row.state.padEnd(9)} ${String(row.sessions).padStart(3)} ${bar} ${moved}`;
  });
  return ['', ...rows, `  ${describeFrame(frame)}`];
}

function describeFrame({ totals, moves, transferredBytes, endpoints }: DemoFrame): string {
  const wrong = totals.lostBytes + totals.duplicatedBytes + totals.mismatchedBytes;
  const sessions = endpoints.map((row) => `${row.name} ${row.sessions}`).join(', ');
  return (
    `sessions: ${sessions} | moves: ${moves.committed}, reverted ${moves.reverted} | ` +
    `${formatBytes(totals.receivedBytes + transferredBytes)} checked, ${wrong} wrong, ` +
    `${totals.resets} resets, ${totals.rtos} RTOs`
  );
}

/** Bytes with a unit. */
export function formatBytes(bytes: number): string {
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
