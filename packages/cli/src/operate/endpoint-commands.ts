/** `restitch endpoint list|drain|undrain|notice`. */
import type { DrainAnswer, EndpointAnswer } from '@restitch/wire';
import type { Command } from 'commander';
import { Option } from 'commander';
import { exitCodes } from '@restitch/console';
import type { CliEnv } from '@restitch/console';
import { withAdmin, withAdminOptions } from './admin-call.js';
import type { AdminFlags } from './admin-call.js';
import { formatDurationMs, formatTable } from './format-table.js';
import { parseDurationMs } from './parse-duration.js';

interface DrainFlags extends AdminFlags {
  readonly deadline?: number;
  readonly onDeadline?: 'wait' | 'force' | 'reset';
  readonly detach: boolean;
}

interface NoticeFlags extends AdminFlags {
  readonly in: number;
  readonly what: 'preemption' | 'maintenance';
  readonly cancel: boolean;
}

/** Mounts `endpoint` with its subcommands. */
export function registerEndpointCommands(program: Command, env: () => CliEnv): void {
  const endpoint = program.command('endpoint').description('the servers sessions live on');
  withAdminOptions(endpoint.command('list').description('all endpoints, their state and sessions')).action(
    (flags: AdminFlags) => listEndpoints(env(), flags),
  );
  withAdminOptions(endpoint.command('drain').description('moves all sessions away; new flows go elsewhere'))
    .argument('<name>')
    .addOption(new Option('--deadline <duration>', 'such as 90s or 10min').argParser(parseDurationMs))
    .addOption(
      new Option('--on-deadline <what>', 'what happens to sessions that are left then').choices([
        'wait',
        'force',
        'reset',
      ]),
    )
    .option('--detach', 'do not wait for the end', false)
    .action((name: string, flags: DrainFlags) => drainEndpoint(env(), name, flags));
  withAdminOptions(endpoint.command('undrain').description('ends a drain; new flows come again'))
    .argument('<name>')
    .action((name: string, flags: AdminFlags) => undrainEndpoint(env(), name, flags));
  withAdminOptions(endpoint.command('notice').description('says that it will be taken away, and when'))
    .argument('<name>')
    .addOption(
      new Option('--in <duration>', 'until then, such as 120s').argParser(parseDurationMs).default(0, 'now'),
    )
    .addOption(
      new Option('--what <event>', 'what will happen')
        .choices(['preemption', 'maintenance'])
        .default('preemption'),
    )
    .option('--cancel', 'take the notice back', false)
    .action((name: string, flags: NoticeFlags) => noticeEndpoint(env(), name, flags));
}

/** Prints all endpoints; exit code 3 if one is not well. */
async function listEndpoints(env: CliEnv, flags: AdminFlags): Promise<void> {
  const endpoints = await withAdmin(flags, env, (client) => client.call({ cmd: 'endpoints' }));
  if (flags.json) for (const e of endpoints) env.out(`${JSON.stringify(e)}\n`);
  else env.out(formatTable(endpointColumns, endpoints));
  if (endpoints.some((e) => e.state === 'suspect' || e.state === 'down'))
    process.exitCode = exitCodes.degraded;
}

/** Drains, with progress on standard error; exit code 3 if something is left behind the deadline. */
async function drainEndpoint(env: CliEnv, name: string, flags: DrainFlags): Promise<void> {
  const { deadline, onDeadline, detach } = flags;
  let last: DrainAnswer | undefined;
  const answer = await withAdmin(flags, env, async (client) => {
    const request = {
      cmd: 'drain' as const,
      endpoint: name,
      watch: !detach,
      ...(deadline === undefined ? {} : { deadlineMs: deadline }),
      ...(onDeadline === undefined ? {} : { onDeadline }),
    };
    const showProgress = (progress: DrainAnswer): void => {
      if (env.isTerminal || isNews(last, progress)) env.err(progressLine(progress, env.isTerminal));
      last = progress;
    };
    return client.call(request, showProgress);
  });
  if (env.isTerminal && last !== undefined) env.err('\n');
  env.out(flags.json ? `${JSON.stringify(answer)}\n` : `${summaryOf(answer)}\n`);
  if (answer.isDeadlinePassed && answer.state !== 'drained') process.exitCode = exitCodes.degraded;
}

/** Ends a drain. */
async function undrainEndpoint(env: CliEnv, name: string, flags: AdminFlags): Promise<void> {
  const endpoint = await withAdmin(flags, env, (client) => client.call({ cmd: 'undrain', endpoint: name }));
  const what =
    endpoint.draining?.isLeaving === true
      ? `${name} is ${endpoint.state} still: its process is about to leave`
      : `${name} is ${endpoint.state} and takes new flows`;
  env.out(flags.json ? `${JSON.stringify(endpoint)}\n` : `${what}\n`);
}

/** Announces a certain event, or takes the announcement back. */
async function noticeEndpoint(env: CliEnv, name: string, flags: NoticeFlags): Promise<void> {
  const request = {
    cmd: 'notice' as const,
    endpoint: name,
    what: flags.what,
    inMs: flags.in,
    cancel: flags.cancel,
  };
  const answer = await withAdmin(flags, env, (client) => client.call(request));
  if (flags.json) env.out(`${JSON.stringify(answer)}\n`);
  else if ('cancelled' in answer) env.out(`${name}: ${answer.cancelled ? 'taken back' : 'there was none'}\n`);
  else env.out(`${name}: ${answer.what} in ${formatDurationMs(answer.inMs)}; its sessions will leave\n`);
}

const endpointColumns = [
  { title: 'NAME', text: (e: EndpointAnswer) => e.name },
  { title: 'STATE', text: (e: EndpointAnswer) => e.state },
  { title: 'SESSIONS', text: (e: EndpointAnswer) => String(e.sessions), isNumber: true },
  { title: 'MOVING', text: (e: EndpointAnswer) => String(e.movesRunning), isNumber: true },
  { title: 'WEIGHT', text: (e: EndpointAnswer) => String(e.weight), isNumber: true },
  { title: 'LOOP DELAY', text: (e: EndpointAnswer) => formatDurationMs(e.eventLoopDelayMs), isNumber: true },
  {
    title: 'HEARD',
    text: (e: EndpointAnswer) =>
      e.lastHeardAgoMs === null ? 'never' : `${formatDurationMs(e.lastHeardAgoMs)} ago`,
  },
  { title: 'APP', text: (e: EndpointAnswer) => (e.app === null ? '-' : `${e.app.name} ${e.app.version}`) },
  { title: 'ADDRESS', text: (e: EndpointAnswer) => e.dataAddress ?? '-' },
];

function progressLine(p: DrainAnswer, isTerminal: boolean): string {
  const closing = p.closing > 0 ? ` (${p.closing} closing)` : '';
  const figures = `${p.left} left${closing}, ${p.moved} moved, ${p.ended} ended, ${Math.round(p.movedPerSec)}/s`;
  const stuck = p.stuck.filter((s) => s.code !== residueCode).map(stuckText);
  const why = stuck.length === 0 ? '' : `, stuck: ${stuck.join('; ')}`;
  const text = `${p.endpoint}: ${figures}, ${waitsFor(p)}${why}`;
  return isTerminal ? `\r\x1b[2K${text.slice(0, 200)}` : `${text}\n`;
}

/** Sockets that no session belongs to are told of by their figures. */
const residueCode = 'residue';

function waitsFor(p: DrainAnswer): string {
  if (p.left > 0) return p.etaMs === null ? 'no end in sight' : `${formatDurationMs(p.etaMs)} to go`;
  const { sockets = 0, bytes = 0 } = p.residue ?? {};
  if (sockets > 0) return `waits for ${plural(sockets, 'socket')} with ${plural(bytes, 'byte')}`;
  return 'waits for its word that nothing is owed to any client';
}

function plural(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}

function stuckText({ code, sessions, example }: DrainAnswer['stuck'][number]): string {
  // Of the endpoint itself there is none to count.
  return `${sessions > 0 ? `${sessions} ` : ''}${code} (${example.reason})`;
}

function isNews(last: DrainAnswer | undefined, p: DrainAnswer): boolean {
  if (last === undefined) return true;
  return (
    last.left !== p.left ||
    last.stuck.length !== p.stuck.length ||
    last.residue?.sockets !== p.residue?.sockets
  );
}

function summaryOf(p: DrainAnswer): string {
  const left = p.left > 0 ? `has ${p.left} sessions left` : waitsFor(p);
  const what = p.state === 'drained' ? 'is drained' : left;
  return `${p.endpoint} ${what}: ${p.moved} moved, ${p.ended} ended by themselves`;
}
