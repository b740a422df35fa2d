/** Runs the analytics commands alone: `node packages/cli/dist/analytics/main.js backtest …`, for measuring without the rest. */
import { Command } from 'commander';
import { toRestitchError } from '@restitch/core';
import { registerAnalyticsCommands } from './commands.js';

const program = new Command('restitch');
registerAnalyticsCommands(program);
try {
  await program.parseAsync(['node', 'restitch', 'analytics', ...process.argv.slice(2)]);
} catch (cause) {
  const error = toRestitchError(cause);
  process.stderr.write(`${error.code}: ${error.message}\n`);
  process.exitCode = error.code === 'usage' ? 2 : 1;
}
