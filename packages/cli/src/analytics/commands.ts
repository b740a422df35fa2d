/** Registers `analytics …` on a commander program; the program decides how errors become exit codes. */
import type { Command } from 'commander';
import { formatBacktest, runBacktest } from './backtest.js';
import { createProgress } from './progress.js';
import { registerLiveCommands } from './live-commands.js';

interface BacktestFlags {
  readonly time: string;
  readonly timeUnit?: string;
  readonly step?: string;
  readonly value: string;
  readonly group?: string;
  readonly horizons: string;
  readonly threshold?: string;
  readonly incidents?: string;
  readonly ets?: boolean;
  readonly checkLeaks?: boolean;
  readonly seed?: string;
  readonly plot?: string;
  readonly json?: boolean;
}

/** Adds the `analytics` command group; returns the group so that others can add to it. */
export function registerAnalyticsCommands(program: Command): Command {
  const group = program
    .command('analytics')
    .description('Forecasts, scores and plans, and how good they are');
  group
    .command('backtest')
    .description('measure the forecasts on your own metrics, by an honest protocol')
    .argument('<files...>', 'CSV or CSV.gz files; each is a series, or several with --group')
    .requiredOption('--time <column>', 'column of time, or "index" when a row is a step')
    .option('--time-unit <unit>', 's, min, iso, or ms, us, ns since 1970 (default: guessed)')
    .option(
      '--step <duration>',
      'time between rows, such as 60s (default: the median difference; 60s for index)',
    )
    .requiredOption('--value <column>', 'column to forecast; other numeric columns help')
    .option('--group <column>', 'column that names the series of a file')
    .option('--horizons <steps>', 'steps ahead, comma-separated', '1,5,15')
    .option(
      '--threshold <quantile>',
      'also measure overload: the limit is this quantile of the first half, such as p95',
    )
    .option(
      '--incidents <column>',
      'also foresee incidents marked 1 in this column, one file left out at a time',
    )
    .option('--ets', 'add the ETS expert (slow)')
    .option('--check-leaks', 'show that no forecast knows the future: run the first file with another one')
    .option('--seed <number>', 'seed of everything random', '1')
    .option('--plot <file.svg>', 'draw the forecasts of the first series')
    .option('--json', 'print the report as JSON')
    .action(async (files: string[], flags: BacktestFlags) => {
      const progress = createProgress();
      const report = await runBacktest({ files, ...flags, onProgress: progress.say });
      progress.end();
      process.stdout.write(
        `${flags.json === true ? JSON.stringify(report, null, 2) : formatBacktest(report)}\n`,
      );
    });
  registerLiveCommands(group);
  return group;
}
