/**
 * Reads CSV and CSV.gz files: commas, semicolons or tabs, quotes as in RFC 4180. The bytes are held and a row is split when it is
 * asked for: two million rows as arrays of texts would not fit into memory.
 */
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { RestitchError } from '@restitch/core';

/** A header and its rows, each as long as the header. */
export interface CsvTable {
  readonly file: string;
  readonly header: readonly string[];
  readonly separator: Separator;
  readonly rowCount: number;
  /** Fields of row `i`, from 0. */
  fields(i: number): readonly string[];
  /** Line of the file on which row `i` begins, from 1: what an editor shows. */
  lineOf(i: number): number;
}

/** What stands between two fields. */
export type Separator = ',' | ';' | '\t';

const separators: readonly Separator[] = [',', ';', '\t'];
const lineFeed = 10;
const carriageReturn = 13;
const quote = 34;

/** Reads a file; `.gz` or gzip's magic bytes are unpacked. Throws `usage` for an unreadable or empty file or a ragged row. */
export async function readCsv(file: string): Promise<CsvTable> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw refused(file, cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return tableOf(file, bytes);
  try {
    return tableOf(file, gunzipSync(bytes));
  } catch (cause) {
    if (cause instanceof RestitchError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw refused(
      file,
      `${why}: the archive is damaged or cut off; copy it anew, or unpack what is left of it with zcat`,
      cause,
    );
  }
}

/** Parses CSV text. */
export function parseCsv(file: string, text: string): CsvTable {
  return tableOf(file, Buffer.from(text, 'utf8'));
}

function tableOf(file: string, bytes: Buffer): CsvTable {
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
    throw refused(file, 'is UTF-16; convert it with iconv -f UTF-16 -t UTF-8');
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const lines = findRecords(bytes, hasMark ? 3 : 0);
  if (lines.starts.length < 2) throw refused(file, 'no header and rows found');
  const head = textOf(bytes, lines, 0);
  const separator = separatorOf(head);
  const header = splitLine(head, separator).map((name) => name.trim());
  const rowCount = lines.starts.length - 1;
  const width = header.length;
  for (let i = 1; i <= rowCount; i++) {
    const found = countFields(bytes, lines.starts[i]!, lines.ends[i]!, separator.charCodeAt(0));
    if (found === width) continue;
    const remedy =
      i === rowCount
        ? 'the file may be cut off: leave its last line out, or copy it anew'
        : `mend the line, or quote fields with "${separator === '\t' ? '\\t' : separator}" in them`;
    throw refused(file, `line ${lines.numbers[i]!} has ${found} fields, the header ${width}; ${remedy}`);
  }
  return {
    file,
    header,
    separator,
    rowCount,
    fields: (i) => splitLine(textOf(bytes, lines, i + 1), separator),
    lineOf: (i) => lines.numbers[i + 1]!,
  };
}

/** Where records begin and end in the file, and on which line; empty lines are none. */
interface Records {
  readonly starts: number[];
  readonly ends: number[];
  readonly numbers: number[];
}

function findRecords(bytes: Buffer, from: number): Records {
  const records: Records = { starts: [], ends: [], numbers: [] };
  let start = from;
  let line = 1;
  let firstLine = 1;
  let isQuoted = false;
  const end = (at: number): void => {
    const last = at > start && bytes[at - 1] === carriageReturn ? at - 1 : at;
    if (!isBlank(bytes, start, last)) {
      records.starts.push(start);
      records.ends.push(last);
      records.numbers.push(firstLine);
    }
    start = at + 1;
  };
  for (let i = from; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === quote) isQuoted = !isQuoted;
    if (byte !== lineFeed) continue;
    line++;
    // A quoted field may span lines.
    if (isQuoted) continue;
    end(i);
    firstLine = line;
  }
  if (start < bytes.length) end(bytes.length);
  return records;
}

function isBlank(bytes: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i]! > 32) return false;
  return true;
}

function textOf(bytes: Buffer, { starts, ends }: Records, i: number): string {
  return bytes.toString('utf8', starts[i]!, ends[i]!);
}

/** The one that stands in the header most often. */
function separatorOf(head: string): Separator {
  const counts = separators.map((separator) => splitLine(head, separator).length);
  return separators[counts.indexOf(Math.max(...counts))]!;
}

function countFields(bytes: Buffer, from: number, to: number, separator: number): number {
  let found = 1;
  let isQuoted = false;
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    if (byte === quote) isQuoted = !isQuoted;
    else if (byte === separator && !isQuoted) found++;
  }
  return found;
}

function splitLine(line: string, separator: Separator): string[] {
  if (!line.includes('"')) return line.split(separator);
  const fields: string[] = [];
  let field = '';
  let quoted = false;
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!;
    if (quoted) {
      if (c !== '"') field += c;
      else if (line[i + 1] === '"') field += line[++i]!;
      else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === separator) {
      fields.push(field);
      field = '';
    } else field += c;
  }
  fields.push(field);
  return fields;
}

function refused(file: string, what: string, cause?: unknown): RestitchError {
  return new RestitchError('usage', `read ${file}: ${what}`, cause === undefined ? {} : { cause });
}
