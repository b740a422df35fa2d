/**
 * `restitch analytics backtest`: how well would the forecasts have done on your own metrics? Reads any CSV, runs the protocol of
 * @restitch/analytics, prints a table or JSON, and draws the last day if asked to.
 */
import { writeFile } from 'node:fs/promises';
import {
  type BacktestReport,
  type HorizonScores,
  type PanelForecasts,
  runBacktest as runProtocol,
} from '@restitch/analytics';
import { RestitchError } from '@restitch/core';
import { plotForecasts } from './backtest-plot.js';
import { parseStep, toPanelData } from './csv-panel.js';
import { readCsv } from './read-csv.js';

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
  /** Seed of everything random; default 1. */
  readonly seed?: string | undefined;
  /** SVG file to draw the forecasts of the first series into. */
  readonly plot?: string | undefined;
  /** Called with a line of progress, for a terminal. */
  readonly onProgress?: ((line: string) => void) | undefined;
}

/** Reads the files and runs the protocol. Throws `usage` for options or files that cannot be used. */
export async function runBacktest(args: BacktestArgs): Promise<BacktestReport> {
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
  const panels = [];
  for (const file of args.files) panels.push(toPanelData(await readCsv(file), columns));
  let first: PanelForecasts | undefined;
  let done = 0;
  const report = runProtocol(
    panels,
    {
      horizons,
      limitRatio,
      seed: args.seed === undefined ? 1 : Number(args.seed),
      onProgress: (ratio) => args.onProgress?.(`${args.files[done]} ${Math.round(ratio * 100)} %`),
    },
    (panel) => {
      first ??= panel;
      done++;
    },
  );
  if (args.plot !== undefined && first !== undefined) {
    await writeFile(args.plot, plotForecasts(first, horizons));
  }
  return report;
}

/** The report as a table for people. */
export function formatBacktest(report: BacktestReport): string {
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
  lines.push('', `${report.series.length} series, ${report.leftOut} left out (series × horizon)`);
  return lines.join('\n');
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

function parseUnit(text: string | undefined): 's' | 'min' | 'iso' | undefined {
  if (text === undefined || text === 's' || text === 'min' || text === 'iso') return text;
  throw new RestitchError('usage', `--time-unit ${text}: want s, min or iso`);
}
