/** `restitch analytics status|plan|explain|mode|accept|record|replay|train|rollback`: the engine in a running access point. */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { AnalyticsMode } from '@restitch/analytics';
import type { AdminCall, AnswerTo } from '@restitch/wire';
import { RestitchError } from '@restitch/core';
import { Argument, type Command, Option } from 'commander';
import { createProcessEnv, exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { withAdmin, withAdminOptions } from '../operate/admin-call.js';
import type { AdminFlags } from '../operate/admin-call.js';
import { plotEndpoint, plotPlan, plotReliability, plotReplay, plotSession } from './live-plot.js';
import { explanationText, planText, statusText } from './live-text.js';
import { createProgress } from './progress.js';
import { runReplay } from './run-replay.js';
import type { ReplayFlags } from './run-replay.js';

interface PlotFlags extends AdminFlags {
  readonly plot?: string;
}

const modes = ['off', 'shadow', 'advise', 'act'] as const satisfies readonly AnalyticsMode[];

/** Mounts the commands on the group `analytics`. */
export function registerLiveCommands(group: Command, env: () => CliEnv = createProcessEnv): void {
  const withPlot = (command: Command): Command =>
    withAdminOptions(command).option('--plot <file.svg>', 'draw it as well');
  withPlot(
    group.command('status').description('mode, brakes, skill and calibration, each endpoint in a line'),
  ).action((flags: PlotFlags) => showStatus(env(), flags));
  withPlot(group.command('plan').description('the plan of this second: what would move, where and why'))
    .option('--dry-run', 'only show it (which is all this command ever does)')
    .action((flags: PlotFlags) => showPlan(env(), flags));
  withPlot(
    group.command('explain').description('why a session or an endpoint has its score, and what is coming'),
  )
    .argument('<name>', 'id of a session or name of an endpoint')
    .action((name: string, flags: PlotFlags) => showExplanation(env(), name, flags));
  withAdminOptions(group.command('mode').description('off, shadow, advise or act; off counts at once'))
    .addArgument(new Argument('<mode>').choices(modes))
    .action((mode: AnalyticsMode, flags: AdminFlags) => setMode(env(), mode, flags));
  withAdminOptions(group.command('accept').description('carry out a plan that waits in mode advise'))
    .argument('<planId>')
    .action((planId: string, flags: AdminFlags) => accept(env(), planId, flags));
  withAdminOptions(group.command('record').description('write everything the engine is told, for replay'))
    .argument('[file]', 'where to; begun anew')
    .option('--stop', 'end the recording')
    .action((file: string | undefined, flags: AdminFlags & { stop?: boolean }) => record(env(), file, flags));
  withAdminOptions(
    group.command('train').description('fit models now; a new one runs in shadow until it proves better'),
  ).action((flags: AdminFlags) =>
    tell(env(), { cmd: 'analytics.train' }, 'training; see analytics status for what comes of it\n', flags),
  );
  withAdminOptions(group.command('rollback').description('back to the model before')).action(
    (flags: AdminFlags) =>
      tell(env(), { cmd: 'analytics.rollback' }, 'rolled back, if there was a model before\n', flags),
  );
  registerReplay(group, env);
}

function registerReplay(group: Command, env: () => CliEnv): void {
  group
    .command('replay')
    .description('what the engine would have done with a recording: exactly, or under another mode or rule')
    .argument('<file>', 'of `analytics record`')
    .addOption(new Option('--mode <mode>', 'instead of the recorded one').choices(modes))
    .addOption(new Option('--rule <rule>', 'instead of the recorded one').choices(['predictive', 'reactive']))
    .option('--trigger <ratio>', 'share of the limit at which the reactive rule acts', Number)
    .option('--plot <file.svg>', 'draw the moves over time')
    .option('--json', 'every output, one JSON object a line', false)
    .action((file: string, flags: ReplayFlags & { plot?: string }) => showReplay(env(), file, flags));
}

async function ask<C extends AdminCall['cmd']>(
  env: CliEnv,
  flags: AdminFlags,
  request: AdminCall<C>,
): Promise<AnswerTo<C>> {
  return withAdmin(flags, env, (client) => client.call(request));
}

async function show(
  env: CliEnv,
  flags: PlotFlags,
  what: { readonly answer: unknown; readonly text: string; readonly svg: () => string },
): Promise<void> {
  if (flags.plot !== undefined) await writeFile(flags.plot, what.svg());
  env.out(flags.json ? `${JSON.stringify(what.answer)}\n` : what.text);
}

/** Prints how the analytics are; exit code 3 while the engine does not answer. */
async function showStatus(env: CliEnv, flags: PlotFlags): Promise<void> {
  const answer = await ask(env, flags, { cmd: 'analytics.status' });
  const { engine } = answer;
  if ('unavailable' in engine) process.exitCode = exitCodes.degraded;
  const svg = (): string => plotReliability('unavailable' in engine ? [] : engine.metrics);
  await show(env, flags, { answer, text: statusText(answer), svg });
}

/** Prints the plan of the last tick. */
async function showPlan(env: CliEnv, flags: PlotFlags): Promise<void> {
  const answer = await ask(env, flags, { cmd: 'analytics.plan' });
  await show(env, flags, { answer, text: planText(answer), svg: () => plotPlan(answer.plan?.moves ?? []) });
}

/** Prints why a session or an endpoint has its score. */
async function showExplanation(env: CliEnv, name: string, flags: PlotFlags): Promise<void> {
  const answer = await ask(env, flags, { cmd: 'analytics.explain', name });
  const svg = (): string => (answer.kind === 'endpoint' ? plotEndpoint(answer) : plotSession(answer));
  await show(env, flags, { answer, text: explanationText(answer), svg });
}

/** Sets the mode; automatic moves that wait are dropped unless it is `act`. */
async function setMode(env: CliEnv, mode: AnalyticsMode, flags: AdminFlags): Promise<void> {
  const answer = await ask(env, flags, { cmd: 'analytics.mode', mode });
  const dropped = answer.dropped > 0 ? `, ${answer.dropped} waiting moves dropped` : '';
  env.out(flags.json ? `${JSON.stringify(answer)}\n` : `mode ${answer.mode}${dropped}\n`);
}

/** Accepts a plan. */
async function accept(env: CliEnv, planId: string, flags: AdminFlags): Promise<void> {
  const id = Number(planId);
  if (!Number.isInteger(id) || id < 1)
    throw new RestitchError('usage', `plan ${planId}: expected the number that analytics plan shows`);
  await tell(env, { cmd: 'analytics.accept', planId: id }, `plan ${id} accepted\n`, flags);
}

/** Begins or ends a recording. */
async function record(
  env: CliEnv,
  file: string | undefined,
  flags: AdminFlags & { stop?: boolean },
): Promise<void> {
  if ((file === undefined) === (flags.stop !== true))
    throw new RestitchError('usage', 'analytics record: give a file to write, or --stop');
  const path = flags.stop === true || file === undefined ? null : resolve(file);
  const text = path === null ? 'recording ended\n' : `recording to ${path}\n`;
  await tell(env, { cmd: 'analytics.record', file: path }, text, flags);
}

async function tell(env: CliEnv, request: AdminCall, text: string, flags: AdminFlags): Promise<void> {
  const answer = await ask(env, flags, request);
  env.out(flags.json ? `${JSON.stringify(answer)}\n` : text);
}

/** Plays a recording again and prints its plans and events. */
async function showReplay(env: CliEnv, file: string, flags: ReplayFlags & { plot?: string }): Promise<void> {
  const progress = createProgress();
  const { lines, seconds, summary } = await runReplay(file, flags, progress.say);
  progress.end();
  if (flags.plot !== undefined) await writeFile(flags.plot, plotReplay(seconds));
  env.out(`${[...lines, summary].join('\n')}\n`);
}
