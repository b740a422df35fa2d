/**
 * `restitch analytics backtest`: how well would the forecasts have done on your own metrics? Reads any CSV, runs the protocol of
 * @restitch/analytics, prints a table or JSON, and draws the last day if asked to.
 */
import { writeFile } from 'node:fs/promises';
import {
  type BacktestReport,
  findLeak,
  type HorizonScores,
  type IncidentScores,
  type IncidentSeries,
  type Leak,
  type MethodOptions,
  type PanelData,
  runIncidents,
  runRestitch,
  summariseBacktest,
} from '@restitch/analytics';
import { RestitchError } from '@restitch/core';
import { plotForecasts } from './backtest-plot.js';
import { parseStep, type TimeUnit, timeUnits, toLabels, toPanelData } from './csv-panel.js';
import { readCsv } from './read-csv.js';
import { type ScoreJob, scoreFiles, withEts } from './score-files.js';

/** Options as the command line gives them. */
export interface BacktestArgs {
  readonly files: readonly string[];
  readonly time: string;
  readonly timeUnit?: string | undefined;
  readonly step?: string | undefined;
  readonly value: string;
  readonly group?: string | undefined;
  readonly horizons: string;
  /** `p95`: the limit is that quantile of each series' first half. */
  readonly threshold?: string | undefined;
  /** Column of 0 and 1 that marks incidents: also measure how well they are foreseen on a file left out. */
  readonly incidents?: string | undefined;
  /** Adds the ETS expert (slow: a fit takes tens of milliseconds). */
  readonly ets?: boolean | undefined;
  /** Also run the first file with another future, and show the first forecast that knew of it. */
  readonly checkLeaks?: boolean | undefined;
  /** Seed of everything random; default 1. */
  readonly seed?: string | undefined;
  /** SVG file to draw the forecasts of the first series into. */
  readonly plot?: string | undefined;
  /** Called with a line of progress, for a terminal. */
  readonly onProgress?: ((line: string) => void) | undefined;
}

/** The protocol's report with what was asked for besides. */
export interface BacktestResult extends BacktestReport {
  readonly incidents?: readonly IncidentScores[];
  /** `none`, or the first forecast that changed with the future. */
  readonly leak?: Leak | 'none';
}

/** Reads the files and runs the protocol. Throws `usage` for options or files that cannot be used. */
export async function runBacktest(args: BacktestArgs): Promise<BacktestResult> {
  if (args.files.length === 0) throw new RestitchError('usage', 'backtest: name at least one file');
  const horizons = parseHorizons(args.horizons);
  const limitRatio = args.threshold === undefined ? undefined : parseThreshold(args.threshold);
  const columns = {
    time: args.time,
    timeUnit: parseUnit(args.timeUnit),
    stepS: args.step === undefined ? undefined : parseStep(args.step),
    value: args.value,
    group: args.group,
  };
  if (args.incidents !== undefined && (args.files.length < 2 || args.group !== undefined)) {
    throw new RestitchError(
      'usage',
      '--incidents: want two files or more of one series each, one is left out at a time',
    );
  }
  const machines: IncidentSeries[] = [];
  for (const file of args.incidents === undefined ? [] : args.files) {
    const table = await readCsv(file);
    machines.push({ data: toPanelData(table, columns), incident: toLabels(table, columns, args.incidents!) });
  }
  const seed = args.seed === undefined ? 1 : Number(args.seed);
  const method: MethodOptions = { horizons, limitRatio, seed };
  const jobs = args.files.map((file, i): ScoreJob => {
    return {
      file,
      columns,
      method,
      ets: args.ets === true,
      wantForecasts: i === 0 && args.plot !== undefined,
    };
  });
  const scored = await scoreFiles(jobs, args.onProgress);
  const report = summariseBacktest(
    scored.map((s) => s.scored),
    method,
  );
  const first = scored[0]?.forecasts;
  if (args.plot !== undefined && first !== undefined) {
    await writeFile(args.plot, plotForecasts(first, horizons));
  }
  return {
    ...report,
    ...(args.incidents === undefined ? {} : { incidents: runIncidents(machines, horizons, seed) }),
    ...(args.checkLeaks === true
      ? {
          leak: checkLeaks(
            toPanelData(await readCsv(args.files[0]!), columns),
            await withEts(method, args.ets === true),
          ),
        }
      : {}),
  };
}

function checkLeaks(data: PanelData, method: MethodOptions): Leak | 'none' {
  const cut = Math.floor(data.timesS.length * 0.75);
  const forecasts = (d: PanelData) =>
    runRestitch(d, method).map((f) => [...f.medians, ...f.lows, ...f.highs, ...f.overload]);
  return findLeak(data, forecasts, cut) ?? 'none';
}

/** The report as a table for people. */
export function formatBacktest(report: BacktestResult): string {
  const lines = ['horizon    rMAE    naive   ses     ets     seasonal  pinball  80 % band covers'];
  for (const row of report.horizons) lines.push(formatRow(row));
  const withEvents = report.horizons.filter((row) => row.overload !== undefined);
  if (withEvents.length > 0)
    lines.push('', 'overload   AP      reactive  base rate  Brier   calibration error');
  for (const { h, overload } of withEvents) {
    lines.push(
      [
        pad(`${h}`, 11),
        pad(number(overload!.restitch.ap), 8),
        pad(number(overload!.reactive.ap), 10),
        pad(number(overload!.baseRate), 11),
        pad(number(overload!.restitch.brier), 8),
        number(overload!.restitch.ece),
      ].join(''),
    );
  }
  if (report.incidents !== undefined) lines.push('', ...formatIncidents(report.incidents));
  if (report.leak !== undefined) {
    lines.push('', report.leak === 'none' ? 'leaks: none' : `leak: ${JSON.stringify(report.leak)}`);
  }
  lines.push('', `${report.series.length} series, ${report.leftOut} left out at some horizon`);
  return lines.join('\n');
}

function formatIncidents(incidents: readonly IncidentScores[]): string[] {
  const lines = [
    'incidents, each file left out once',
    'horizon  base rate  AP      known   skill where known  verdict  file',
  ];
  for (const row of incidents) {
    const skill = row.skillWhereKnown === 'unknown' ? 'unknown' : number(row.skillWhereKnown);
    lines.push(
      `${pad(`${row.h}`, 9)}${pad(number(row.baseRate), 11)}${pad(number(row.ap), 8)}${pad(number(row.knownRatio), 8)}${pad(skill, 19)}${pad(row.verdict, 9)}${row.name}`,
    );
  }
  return lines;
}

function formatRow(row: HorizonScores): string {
  const numbers = [row.restitch.rmae, row.naive, row.ses, row.ets].map((v) => pad(number(v), 8)).join('');
  return `${pad(`${row.h}`, 11)}${numbers}${pad(number(row.seasonal), 10)}${pad(number(row.restitch.pinball), 9)}${number(row.restitch.coverage80)}`;
}

function number(value: number): string {
  return Number.isFinite(value) ? value.toFixed(3) : '–';
}

function pad(text: string, width: number): string {
  return text.padEnd(width);
}

function parseHorizons(text: string): number[] {
  const horizons = text.split(',').map(Number);
  if (horizons.some((h) => !Number.isInteger(h) || h < 1)) {
    throw new RestitchError('usage', `--horizons ${text}: want whole steps such as 1,5,15`);
  }
  return [...new Set(horizons)].sort((a, b) => a - b);
}

function parseThreshold(text: string): number {
  const percent = /^p(\d+(?:\.\d+)?)$/.exec(text)?.[1];
  const ratio = Number(percent) / 100;
  if (!(ratio > 0 && ratio < 1))
    throw new RestitchError('usage', `--threshold ${text}: want a quantile such as p95`);
  return ratio;
}

function parseUnit(text: string | undefined): TimeUnit | undefined {
  const unit = timeUnits.find((known) => known === text);
  if (text === undefined || unit !== undefined) return unit;
  throw new RestitchError('usage', `--time-unit ${text}: want one of ${timeUnits.join(', ')}`);
}
