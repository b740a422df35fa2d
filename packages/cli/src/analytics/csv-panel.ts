/** Turns CSV rows into the panel of a backtest: one common clock, one column to forecast, the other numbers as company. */
import { basename } from 'node:path';
import type { PanelData } from '@restitch/analytics';
import { RestitchError } from '@restitch/core';
import { parseNumber } from './number-text.js';
import type { CsvTable } from './read-csv.js';

/** What times are told in; the units below a second count from 1970. */
export const timeUnits = ['s', 'min', 'iso', 'ms', 'us', 'ns'] as const;
export type TimeUnit = (typeof timeUnits)[number];

/** How to read the columns. */
export interface PanelColumns {
  /** Column of time, or `index`: a row is a step. */
  readonly time: string;
  readonly timeUnit?: TimeUnit | undefined;
  /** Seconds a step; by default the median difference of the times (60 for `index`). */
  readonly stepS?: number | undefined;
  readonly value: string;
  /** Column whose values name the series of a file. */
  readonly group?: string | undefined;
}

/** Steps of `index` times when none is given. */
const DEFAULT_STEP_S = 60;
/** Columns that hold hindsight: a person wrote them after the fact, so no forecast may see them. */
const HINDSIGHT = /^(is_?)?(anomaly|label|incident|outlier|target|ground_?truth)s?$/i;
/** Rows that must be numbers for a column to keep company. */
const SAMPLE_ROWS = 50;
/** As seconds these would lie beyond the year 5000: they are milliseconds, microseconds, nanoseconds. */
const BEYOND_SECONDS = [
  ['ns', 1e17],
  ['us', 1e14],
  ['ms', 1e11],
] as const;
const secondsPer: Readonly<Record<Exclude<TimeUnit, 'iso'>, number>> = {
  s: 1,
  min: 60,
  ms: 1e-3,
  us: 1e-6,
  ns: 1e-9,
};
const isoTime = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?)?\s*(Z|[+-]\d\d:?\d\d)?$/i;

/** Rows as numbers, one pass over the file. */
interface Numbers {
  readonly names: readonly string[];
  /** Series, time and value of each row. */
  readonly series: Int32Array;
  readonly timesS: Float64Array;
  readonly values: Float64Array;
  /** Other columns, row × columns. */
  readonly company: Float32Array;
}

/** Builds the panel. Throws `usage` for a missing column, unreadable times and values that are no numbers. */
export function toPanelData(table: CsvTable, columns: PanelColumns): PanelData {
  const valueAt = columnOf(table, columns.value);
  const groupAt = columns.group === undefined ? -1 : columnOf(table, columns.group);
  const auxAt = companyColumns(table, columns, valueAt, groupAt);
  const read = readNumbers(table, columns, { valueAt, groupAt, auxAt });
  const { names } = read;
  const stepS = chooseStep(read, columns);
  const timesS = ascending(read.timesS);
  const values = names.map(() => new Float64Array(timesS.length).fill(Number.NaN));
  const width = names.length * auxAt.length;
  const aux = auxAt.length === 0 ? undefined : new Float32Array(timesS.length * width).fill(Number.NaN);
  for (let row = 0; row < table.rowCount; row++) {
    const at = placeOf(timesS, read.timesS[row]!);
    const s = read.series[row]!;
    // Of repeated times the last counts: later rows overwrite.
    values[s]![at] = read.values[row]!;
    for (let a = 0; a < auxAt.length; a++)
      aux![at * width + s * auxAt.length + a] = read.company[row * auxAt.length + a]!;
  }
  return {
    names,
    timesS,
    stepS,
    calendar: columns.time !== 'index',
    values,
    auxNames: auxAt.map((column) => table.header[column]!),
    aux,
  };
}

/** Seconds of `60s`, `5m`, `1h` or a plain number of seconds. */
export function parseStep(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(s|m|min|h)?$/.exec(text);
  const unit = match?.[2] ?? 's';
  const seconds = Number(match?.[1]) * (unit === 's' ? 1 : unit === 'h' ? 3_600 : 60);
  if (!(seconds > 0))
    throw new RestitchError('usage', `--step ${text}: want a duration such as 60s, 5m or 1h`);
  return seconds;
}

/** A column of 0 and 1 (hindsight labels), in the order of the panel's rows; for files of one series. */
export function toLabels(table: CsvTable, columns: PanelColumns, name: string): Uint8Array {
  const at = columnOf(table, name);
  const timeOf = clockOf(table, columns);
  const byTime = new Map<number, number>();
  for (let row = 0; row < table.rowCount; row++) {
    const fields = table.fields(row);
    byTime.set(timeOf(row, fields), parseNumber(fields[at]!, table.separator)! > 0 ? 1 : 0);
  }
  return Uint8Array.from(
    [...byTime.keys()].sort((a, b) => a - b),
    (t) => byTime.get(t)!,
  );
}

function columnOf(table: CsvTable, name: string): number {
  const at = table.header.indexOf(name);
  if (at < 0) {
    throw new RestitchError(
      'usage',
      `${table.file} has no column ${name}; it has ${table.header.join(', ')}`,
    );
  }
  return at;
}

function readNumbers(
  table: CsvTable,
  columns: PanelColumns,
  at: { readonly valueAt: number; readonly groupAt: number; readonly auxAt: readonly number[] },
): Numbers {
  const { rowCount, separator } = table;
  const { valueAt, groupAt, auxAt } = at;
  const timeOf = clockOf(table, columns);
  const numbers = {
    series: new Int32Array(rowCount),
    timesS: new Float64Array(rowCount),
    values: new Float64Array(rowCount),
    company: new Float32Array(rowCount * auxAt.length),
  };
  const places = new Map<string, number>();
  const counts: number[] = [];
  for (let row = 0; row < rowCount; row++) {
    const fields = table.fields(row);
    const name = groupAt < 0 ? basename(table.file) : fields[groupAt]!;
    const s = places.get(name) ?? places.size;
    places.set(name, s);
    numbers.series[row] = s;
    // Where a row is a step, it is one of its own series.
    numbers.timesS[row] = timeOf(counts[s] ?? 0, fields, row);
    counts[s] = (counts[s] ?? 0) + 1;
    const value = parseNumber(fields[valueAt]!, separator);
    if (value === undefined) {
      const what = `${columns.value} "${fields[valueAt]!}" is no number`;
      const remedy = 'leave the field empty where there is no value, or name another column with --value';
      throw new RestitchError('usage', `${table.file} line ${table.lineOf(row)}: ${what}; ${remedy}`);
    }
    numbers.values[row] = value;
    for (let a = 0; a < auxAt.length; a++)
      numbers.company[row * auxAt.length + a] = parseNumber(fields[auxAt[a]!]!, separator) ?? Number.NaN;
  }
  return { names: [...places.keys()], ...numbers };
}

/** Seconds of a row: the `step`-th of its series, row `row` of the file (the same without groups). */
function clockOf(
  table: CsvTable,
  columns: PanelColumns,
): (step: number, fields: readonly string[], row?: number) => number {
  if (columns.time === 'index') return (step) => step * (columns.stepS ?? DEFAULT_STEP_S);
  const at = columnOf(table, columns.time);
  const unit = columns.timeUnit ?? guessUnit(columns.time, table.fields(0)[at]!, table);
  return (step, fields, row = step) => {
    const text = fields[at]!;
    const seconds =
      unit === 'iso' ? parseIso(text) : (parseNumber(text, table.separator) ?? Number.NaN) * secondsPer[unit];
    if (Number.isFinite(seconds)) return seconds;
    const remedy =
      'write 2026-01-31T10:00:00Z or a number, say --time-unit, or --time index if each row is a step';
    throw new RestitchError(
      'usage',
      `${table.file} line ${table.lineOf(row)}: time "${text}" is not ${unit}; ${remedy}`,
    );
  };
}

function guessUnit(name: string, first: string, table: CsvTable): TimeUnit {
  const number = parseNumber(first, table.separator);
  if (number === undefined || Number.isNaN(number)) return 'iso';
  const finer = BEYOND_SECONDS.find(([, least]) => number >= least);
  return finer?.[0] ?? (/^min/i.test(name) ? 'min' : 's');
}

/** Times without a zone are taken as UTC, so that a result does not depend on where it is computed. */
function parseIso(text: string): number {
  const trimmed = text.trim();
  if (!isoTime.test(trimmed)) return Number.NaN;
  const plain = trimmed
    .replace(/(?<=\d) (?=\d)/, 'T')
    .replace(',', '.')
    .replace(/\s+/, '');
  if (!/t/i.test(plain)) return Date.parse(plain.slice(0, 10)) / 1000;
  return Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(plain) ? plain : `${plain}Z`) / 1000;
}

function chooseStep(read: Numbers, columns: PanelColumns): number {
  if (columns.time === 'index') return columns.stepS ?? DEFAULT_STEP_S;
  const bySeries = read.names.map((): number[] => []);
  read.timesS.forEach((time, row) => bySeries[read.series[row]!]!.push(time));
  const differences: number[] = [];
  for (const times of bySeries) {
    const sorted = Float64Array.from(times).sort();
    for (let i = 1; i < sorted.length; i++) {
      const difference = sorted[i]! - sorted[i - 1]!;
      if (difference > 0) differences.push(difference);
    }
  }
  const own = Float64Array.from(differences).sort()[differences.length >> 1] ?? DEFAULT_STEP_S;
  // A step that no two rows of the file are apart would turn every row into a gap; several files may differ in it.
  const fits = differences.some((d) => Math.abs(d - (columns.stepS ?? own)) <= (columns.stepS ?? own) / 2);
  return fits ? (columns.stepS ?? own) : own;
}

/** Each time once, ascending. */
function ascending(times: Float64Array): Float64Array {
  const sorted = times.slice().sort();
  return sorted.filter((time, i) => i === 0 || time !== sorted[i - 1]);
}

/** Place of a time among all, by halves. */
function placeOf(times: Float64Array, time: number): number {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle]! < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Numeric columns besides time, value and group; hindsight and texts stay out. */
function companyColumns(table: CsvTable, columns: PanelColumns, valueAt: number, groupAt: number): number[] {
  const sample = Array.from({ length: Math.min(SAMPLE_ROWS, table.rowCount) }, (_, row) => table.fields(row));
  return table.header.flatMap((name, at) => {
    if (at === valueAt || at === groupAt || name === columns.time || HINDSIGHT.test(name)) return [];
    return sample.every((fields) => parseNumber(fields[at]!, table.separator) !== undefined) ? [at] : [];
  });
}
