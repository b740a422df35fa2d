/** `restitch bench NAME`, behind `npm run bench`: figures of this machine, each from one command. */
import { Option } from 'commander';
import type { Command } from 'commander';
import { createProcessEnv, exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import type { ReplicationBenchOptions } from './replication-bench.js';
import { parseCount } from '../lab/parse-option.js';

interface BenchFlags {
  readonly json?: boolean;
}

/** Mounts `bench`, which is for this repository and not shown to operators. */
export function registerBenchCommands(program: Command, env: () => CliEnv = createProcessEnv): void {
  const bench = program.command('bench', { hidden: true }).description('figures of this machine');
  bench
    .command('dataplane')
    .description('throughput and round trip through the access point, against direct and HAProxy')
    .option('--json', 'one JSON object on standard output')
    .action(async () => {
      const { runDataplaneBench } = await import('./dataplane-bench.js');
      print(env(), await runDataplaneBench());
    });
  bench
    .command('move')
    .description('processor time of a move, and how fast a server is drained')
    .addOption(new Option('--sessions <n>', 'idle sessions').argParser(parseCount))
    .option('--json', 'one JSON object on standard output')
    .action(async (options: BenchFlags & { sessions?: number }) => {
      const { defaultMoveBench, runMoveBench } = await import('./move-bench.js');
      const run = env();
      const { sessions = defaultMoveBench.sessions } = options;
      print(run, await runMoveBench(run, { ...defaultMoveBench, sessions }));
    });
  bench
    .command('planner')
    .description(
      'a million sessions on a thousand endpoints: telemetry, forecasts, plan, and how near the optimum',
    )
    .option('--json', 'one JSON object on standard output')
    .action(async () => {
      const { runPlannerBench } = await import('./planner-bench.js');
      print(env(), await runPlannerBench());
    });
  bench
    .command('replication')
    .description('uploads, round trips and processor time at levels periodic and commit, against level none')
    .addOption(new Option('--pairs <n>', 'measurements of each level').argParser(parseCount))
    .addOption(new Option('--upload-bytes <n>', 'bytes of an upload').argParser(parseCount))
    .addOption(new Option('--round-trips <n>', 'round trips of a measurement').argParser(parseCount))
    .option('--json', 'one JSON object on standard output')
    .action(async (options: BenchFlags & Partial<ReplicationBenchOptions>) => {
      const { defaultReplicationBench, runReplicationBench } = await import('./replication-bench.js');
      const run = env();
      print(run, await runReplicationBench(run, { ...defaultReplicationBench, ...options }));
    });
  bench
    .command('rescue')
    .description('the forecast against the reactive rule after quiet pasts, simulated: overload and moves')
    .addOption(new Option('--seeds <n>', 'runs of each kind').argParser(parseCount))
    .option('--patterns <names>', 'only these, with commas between them')
    .option('--json', 'one JSON object on standard output')
    .action(async ({ seeds, patterns }: BenchFlags & { seeds?: number; patterns?: string }) => {
      const { defaultRescueBench, parseRescuePatterns, runRescueBench } = await import('./rescue-bench.js');
      const run = env();
      const options = {
        seeds: seeds ?? defaultRescueBench.seeds,
        patterns: patterns === undefined ? defaultRescueBench.patterns : parseRescuePatterns(patterns),
      };
      const report = runRescueBench(options, (row) => run.err(`${JSON.stringify(row)}\n`));
      print(run, report);
      if (report.failed.length > 0) process.exitCode = exitCodes.failed;
    });
  bench
    .command('scale')
    .description('many flows and sessions: memory of each, and whether a move takes longer')
    .addOption(new Option('--sessions <n>', 'live sessions').argParser(parseCount))
    .addOption(new Option('--flows <n>', 'flow entries').argParser(parseCount))
    .option('--json', 'one JSON object on standard output')
    .action(async (options: BenchFlags & { sessions?: number; flows?: number }) => {
      const { defaultScaleBench, runScaleBench } = await import('./scale-bench.js');
      const run = env();
      const result = await runScaleBench(run, { ...defaultScaleBench, ...options });
      print(run, result);
      if (result.moveTimeRatio > defaultScaleBench.maxMoveTimeRatio) process.exitCode = exitCodes.failed;
    });
  bench
    .command('telemetry')
    .description('what an endpoint pays for its telemetry: processor time of a period, bytes of a message')
    .addOption(new Option('--sessions <n>', 'sessions, half of them with news').argParser(parseCount))
    .option('--json', 'one JSON object on standard output')
    .action(async (options: BenchFlags & { sessions?: number }) => {
      const { measureTelemetryCost } = await import('./measure-telemetry-cost.js');
      print(env(), measureTelemetryCost(options.sessions ?? 10_000, 512, 200));
    });
}

function print(env: CliEnv, result: object): void {
  env.out(`${JSON.stringify(result)}\n`);
}
