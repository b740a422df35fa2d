/** Reads CSV and CSV.gz files into columns of text. Quotes as in RFC 4180; the whole file is held, as a backtest needs it all. */
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { RestitchError } from '@restitch/core';

/** A header and its rows, each as long as the header. */
export interface CsvTable {
  readonly file: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Reads a file; `.gz` or gzip's magic bytes are unpacked. Throws `usage` for an unreadable or empty file or a ragged row. */
export async function readCsv(file: string): Promise<CsvTable> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = gunzipSync(bytes);
  } catch (cause) {
    throw new RestitchError(
      'usage',
      `read ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        cause,
      },
    );
  }
  return parseCsv(file, bytes.toString('utf8'));
}

/** Parses CSV text. */
export function parseCsv(file: string, text: string): CsvTable {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const records: string[][] = [];
  for (let i = 0; i < lines.length; i++) {
    let line = lines[i]!;
    if (line.trim() === '') continue;
    // A quoted field may span lines: take more of them until the quotes are even.
    while (count(line, '"') % 2 === 1 && i + 1 < lines.length) line += `\n${lines[++i]!}`;
    records.push(line.includes('"') ? splitQuoted(line) : line.split(','));
  }
  const header = records.shift();
  if (header === undefined || records.length === 0) {
    throw new RestitchError('usage', `read ${file}: no header and rows found`);
  }
  const bad = records.findIndex((row) => row.length !== header.length);
  if (bad >= 0) {
    throw new RestitchError(
      'usage',
      `read ${file}: data row ${bad + 1} has ${records[bad]!.length} fields, the header ${header.length}`,
    );
  }
  return { file, header: header.map((name) => name.trim()), rows: records };
}

function count(text: string, part: string): number {
  let found = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) found++;
  return found;
}

function splitQuoted(line: string): string[] {
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
    else if (c === ',') {
      fields.push(field);
      field = '';
    } else field += c;
  }
  fields.push(field);
  return fields;
}
