/** Turns CSV rows into the panel of a backtest: one common clock, one column to forecast, the other numbers as company. */
import { basename } from 'node:path';
import type { PanelData } from '@restitch/analytics';
import { RestitchError } from '@restitch/core';
import type { CsvTable } from './read-csv.js';

/** How to read the columns. */
export interface PanelColumns {
  /** Column of time, or `index`: a row is a step. */
  readonly time: string;
  readonly timeUnit?: 's' | 'min' | 'iso' | undefined;
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

/** Builds the panel. Throws `usage` for a missing column or unreadable times. */
export function toPanelData(table: CsvTable, columns: PanelColumns): PanelData {
  const valueAt = columnOf(table, columns.value);
  const groupAt = columns.group === undefined ? -1 : columnOf(table, columns.group);
  const groups = groupRows(table, groupAt);
  const timesOf = [...groups.values()].map((rows) => rowTimes(table, rows, columns));
  const stepS = chooseStep(timesOf, columns);
  const timesS = Float64Array.from(new Set(timesOf.flatMap((times) => [...times]))).sort();
  const rowOf = new Map<number, number>();
  timesS.forEach((t, i) => rowOf.set(t, i));
  const auxAt = companyColumns(table, columns, valueAt, groupAt);
  const names = [...groups.keys()].map((name) => (groupAt < 0 ? basename(table.file) : name));
  const values = names.map(() => new Float64Array(timesS.length).fill(Number.NaN));
  const width = names.length * auxAt.length;
  const aux = auxAt.length === 0 ? undefined : new Float32Array(timesS.length * width).fill(Number.NaN);
  [...groups.values()].forEach((rows, s) => {
    rows.forEach((row, k) => {
      const at = rowOf.get(timesOf[s]![k]!)!;
      // Of repeated times the last counts: later rows overwrite.
      values[s]![at] = toNumber(row[valueAt]!);
      auxAt.forEach((column, a) => {
        aux![at * width + s * auxAt.length + a] = toNumber(row[column]!);
      });
    });
  });
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
  const times = rowTimes(table, table.rows, columns);
  const byTime = new Map<number, number>();
  table.rows.forEach((row, i) => byTime.set(times[i]!, toNumber(row[at]!) > 0 ? 1 : 0));
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

function groupRows(table: CsvTable, groupAt: number): Map<string, (readonly string[])[]> {
  const groups = new Map<string, (readonly string[])[]>();
  for (const row of table.rows) {
    const key = groupAt < 0 ? '' : row[groupAt]!;
    const rows = groups.get(key);
    if (rows === undefined) groups.set(key, [row]);
    else rows.push(row);
  }
  return groups;
}

function rowTimes(
  table: CsvTable,
  rows: readonly (readonly string[])[],
  columns: PanelColumns,
): Float64Array {
  if (columns.time === 'index') {
    return Float64Array.from(rows, (_, i) => i * (columns.stepS ?? DEFAULT_STEP_S));
  }
  const at = columnOf(table, columns.time);
  const unit = columns.timeUnit ?? guessUnit(columns.time, rows[0]![at]!);
  return Float64Array.from(rows, (row, i) => {
    const text = row[at]!;
    const seconds = unit === 'iso' ? parseIso(text) : unit === 'min' ? toNumber(text) * 60 : toNumber(text);
    if (!Number.isFinite(seconds)) {
      throw new RestitchError('usage', `${table.file}: time "${text}" in data row ${i + 1} is not ${unit}`);
    }
    return seconds;
  });
}

function guessUnit(name: string, first: string): 's' | 'min' | 'iso' {
  if (!Number.isFinite(toNumber(first))) return 'iso';
  return /^min/i.test(name) ? 'min' : 's';
}

/** Times without a zone are taken as UTC, so that a result does not depend on where it is computed. */
function parseIso(text: string): number {
  const plain = text.trim().replace(' ', 'T');
  return Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(plain) ? plain : `${plain}Z`) / 1000;
}

function chooseStep(timesOf: readonly Float64Array[], columns: PanelColumns): number {
  if (columns.time === 'index') return columns.stepS ?? DEFAULT_STEP_S;
  const differences: number[] = [];
  for (const times of timesOf) {
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

/** Numeric columns besides time, value and group; hindsight and texts stay out. */
function companyColumns(table: CsvTable, columns: PanelColumns, valueAt: number, groupAt: number): number[] {
  return table.header.flatMap((name, at) => {
    if (at === valueAt || at === groupAt || name === columns.time || HINDSIGHT.test(name)) return [];
    return table.rows.slice(0, 50).every((row) => row[at] === '' || Number.isFinite(toNumber(row[at]!)))
      ? [at]
      : [];
  });
}

function toNumber(text: string): number {
  return text.trim() === '' ? Number.NaN : Number(text);
}
