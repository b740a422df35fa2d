/** Runs the analytics commands alone: `node packages/cli/dist/analytics/main.js backtest …`, for measuring without the rest. */
import { Command } from 'commander';
import { toRestitchError } from '@restitch/core';
import { registerAnalyticsCommands } from './commands.js';
import { runPlannerBench } from './planner-bench.js';

const program = new Command('restitch');
registerAnalyticsCommands(program)
  .command('bench-planner')
  .action(async () => {
    process.stdout.write(`${JSON.stringify(await runPlannerBench(), null, 2)}\n`);
  });
try {
  await program.parseAsync(['node', 'restitch', 'analytics', ...process.argv.slice(2)]);
} catch (cause) {
  const error = toRestitchError(cause);
  process.stderr.write(`${error.code}: ${error.message}\n`);
  process.exitCode = error.code === 'usage' ? 2 : 1;
}
